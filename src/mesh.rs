//! Calls between executors: a ring each way between every two, a number a call, an answer each.
//!
//! *Which core*: each executor has its own [`Mesh`], with its ends of the rings.
//! *Invariants*: messages between two executors keep their order. Rings are bounded; calls, and what waits for room in a ring,
//! are bounded by those who call: a connection has one request under way at a time, but for produces, which have a budget.
//! *Not here*: what is called (`message`).
//! *Why* one task per ring end: the ring's receive must not be polled in a select, and only one task may send.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use slab::Slab;

use crate::limits;
use crate::local::{self, Notify};
use crate::message::{Core, Envelope, Reply, Request};
use crate::model::ShardId;
use crate::rt::{self, Rt};

/// The ends of the rings that belong to one executor, before it has started.
pub struct MeshEnds {
    me: Core,
    links: Vec<(Core, rt::Sender<Envelope>, rt::Receiver<Envelope>)>,
}

/// Rings between every two of the metadata executor and `shards` shard executors: element 0 is the metadata executor's.
pub fn full_mesh(shards: usize) -> Vec<MeshEnds> {
    let core = |index: usize| if index == 0 { Core::Metadata } else { Core::Shard(ShardId(index - 1)) };
    let mut ends: Vec<MeshEnds> = (0..=shards).map(|i| MeshEnds { me: core(i), links: Vec::new() }).collect();
    for a in 0..=shards {
        for b in a + 1..=shards {
            let (to_b, from_a) = rt::channel(limits::RING_MESSAGES_MAX);
            let (to_a, from_b) = rt::channel(limits::RING_MESSAGES_MAX);
            ends[a].links.push((core(b), to_b, from_b));
            ends[b].links.push((core(a), to_a, from_a));
        }
    }
    ends
}

/// One executor's side of the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh(Rc<Inner>);

struct Inner {
    me: Core,
    outboxes: Vec<(Core, Rc<Outbox>)>,
    calls: RefCell<Slab<local::OneshotSender<Reply>>>,
}

/// What waits for room in a ring.
#[derive(Default)]
struct Outbox {
    queue: RefCell<VecDeque<Envelope>>,
    filled: Notify,
}

/// Answers one call, once. Dropped unused, it leaves the caller without an answer: only a stopping executor does that.
pub struct Responder {
    number: u64,
    outbox: Rc<Outbox>,
}

impl Responder {
    /// Sends the answer.
    pub fn answer(self, reply: Reply) {
        self.outbox.push(Envelope::Return(self.number, reply));
    }
}

impl Outbox {
    fn push(&self, envelope: Envelope) {
        self.queue.borrow_mut().push_back(envelope);
        self.filled.notify();
    }

    async fn send_all(self: Rc<Self>, rt: Rt, mut sender: rt::Sender<Envelope>) {
        sender.connect(&rt).await;
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                Some(envelope) => {
                    if sender.send(envelope).await.is_err() {
                        return;
                    }
                }
                None => self.filled.notified().await,
            }
        }
    }
}

impl Mesh {
    /// Connects this executor's ends; every incoming call goes to `serve`, in order per caller.
    pub fn start(rt: &Rt, ends: MeshEnds, serve: impl Fn(Core, Request, Responder) + Clone + 'static) -> Mesh {
        let mut outboxes = Vec::new();
        let mut receivers = Vec::new();
        for (core, sender, receiver) in ends.links {
            let outbox = Rc::new(Outbox::default());
            rt.spawn(outbox.clone().send_all(rt.clone(), sender));
            receivers.push((core, outbox.clone(), receiver));
            outboxes.push((core, outbox));
        }
        let mesh = Mesh(Rc::new(Inner { me: ends.me, outboxes, calls: RefCell::new(Slab::new()) }));
        for (core, outbox, mut receiver) in receivers {
            let (mesh, rt_of_task, serve) = (mesh.clone(), rt.clone(), serve.clone());
            rt.spawn(async move {
                receiver.connect(&rt_of_task).await;
                while let Some(envelope) = receiver.recv().await {
                    match envelope {
                        Envelope::Call(number, request) => {
                            serve(core, request, Responder { number, outbox: outbox.clone() });
                        }
                        Envelope::Return(number, reply) => mesh.on_return(number, reply),
                    }
                }
            });
        }
        mesh
    }

    /// Which executor this is.
    pub fn me(&self) -> Core {
        self.0.me
    }

    /// Calls another executor. The message is on its way when this returns; `None` from the future: that executor is gone.
    pub fn call(&self, to: Core, request: Request) -> impl Future<Output = Option<Reply>> + 'static {
        let (sender, receiver) = local::oneshot();
        let number = self.0.calls.borrow_mut().insert(sender) as u64;
        let outbox = self.0.outboxes.iter().find(|(core, _)| *core == to).map(|(_, outbox)| outbox);
        outbox.expect("nobody calls himself").push(Envelope::Call(number, request));
        receiver
    }

    fn on_return(&self, number: u64, reply: Reply) {
        let sender = self.0.calls.borrow_mut().try_remove(number as usize);
        sender.expect("an answer to a call that was made").send(reply);
    }
}
