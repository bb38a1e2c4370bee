//! The smallest scenario: clients have numbers stored by a server of a few lines, while everything around it breaks.
//!
//! It shows that the simulator finds what it is for, before there is a broker to run in it. *Invariants* (the promises that are
//! checked): a number that was acknowledged is on the server's disk, whatever crashed; once nothing breaks any more, every
//! client gets its work done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Buf;
use chronik::rt::{Rt, Sender, channel};
use futures_lite::future::or;
use net::frame::FrameReader;
use net::stream::{Accepted, ReadHalf, WriteHalf};
use storage::disk::{Disk, DiskError};

use crate::nemesis::{Nemesis, WITH_ONE};
use crate::trace::Trace;
use crate::world::{Boot, Process, Stopped, World, WorldOptions};

const PORT: u16 = 7;
const CLIENTS: u64 = 3;
const NUMBERS: u64 = 40;
const SECOND: u64 = 1_000_000_000;
const ANSWER_TIME: Duration = Duration::from_millis(800);

/// How the server is to be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// It answers before the number is durable.
    pub answers_early: bool,
}

/// What a run comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// The run as text.
    pub trace: String,
    /// Of everything that happened.
    pub digest: u64,
    /// How often time moved.
    pub steps: u64,
}

/// Runs one seed. Err: a promise was broken; the message says which.
pub fn run(seed: u64, steps_max: Option<u64>, bugs: Bugs) -> (Report, Result<()>) {
    let mut world = World::new(seed, WorldOptions { steps_max, ..WorldOptions::default() });
    let acknowledged = Acknowledged::default();
    let server = world.add_machine("server", Rc::new(move |process| serve(process, bugs)));
    let address = SocketAddr::new(world.ip(server), PORT);
    let clients = world.add_machine("clients", ask(address, acknowledged.clone(), world.trace.clone()));
    world.start(server, 2);
    world.start(clients, usize::try_from(CLIENTS).expect("there are few"));

    let nemesis = Nemesis::new(vec![(server, vec![1, 2, 3])], &[clients], SECOND / 2, &WITH_ONE);
    let is_done = || acknowledged.finished.get() == CLIENTS;
    let stopped = nemesis.torment(&mut world, is_done);
    let disk = world.disk(server);
    let verdict = acknowledged.check(stopped, |path| disk.file_bytes(path).is_some());
    (Report { trace: world.trace.to_string(), digest: world.digest(), steps: world.steps() }, verdict)
}

/// What the server has promised.
#[derive(Clone, Default)]
struct Acknowledged {
    numbers: Rc<RefCell<BTreeSet<(u64, u64)>>>,
    /// Clients that are done.
    finished: Rc<Cell<u64>>,
}

impl Acknowledged {
    fn check(&self, stopped: Stopped, is_stored: impl Fn(&std::path::Path) -> bool) -> Result<()> {
        for &(client, number) in &*self.numbers.borrow() {
            ensure!(
                is_stored(&path_of(client, number)),
                "number {number} of client {client} was acknowledged and is lost"
            );
        }
        match stopped {
            Stopped::Condition | Stopped::Steps => Ok(()),
            Stopped::Died => bail!("the server ended itself, though its disk had not failed"),
            Stopped::Time | Stopped::Quiet => {
                bail!("nothing breaks any more, but {} of {CLIENTS} clients are done", self.finished.get())
            }
        }
    }
}

fn path_of(client: u64, number: u64) -> PathBuf {
    PathBuf::from(format!("/data/{client}-{number}"))
}

/// The server: the first executor accepts, the others (or it, if it is alone) serve.
fn serve(process: Process, bugs: Bugs) {
    let Process { executors, net, disk, .. } = process;
    let acceptor = executors[0].clone();
    let mut workers = Vec::new();
    for worker in executors.iter().skip(1) {
        let (sender, receiver) = channel::<Accepted>(16);
        workers.push(sender);
        let (rt, disk) = (worker.clone(), disk.clone());
        worker.spawn(async move {
            let mut receiver = receiver;
            receiver.connect(&rt).await;
            while let Some(accepted) = receiver.recv().await {
                serve_connection(&rt, accepted, &disk, bugs);
            }
        });
    }
    let rt = acceptor.clone();
    acceptor.spawn(async move {
        for worker in &mut workers {
            worker.connect(&rt).await;
        }
        if disk.create_dir_all(&PathBuf::from("/data")).await.is_err() {
            return;
        }
        let Ok(listener) = net.listen(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), PORT), 8) else { return };
        for turn in 0.. {
            match listener.accept().await {
                Ok(accepted) => hand_out(&rt, &workers, turn, accepted, &disk, bugs).await,
                Err(_) => rt.sleep(Duration::from_millis(10)).await,
            }
        }
    });
}

async fn hand_out(rt: &Rt, workers: &[Sender<Accepted>], turn: usize, accepted: Accepted, disk: &Disk, bugs: Bugs) {
    match workers.len() {
        0 => serve_connection(rt, accepted, disk, bugs),
        count => drop(workers[turn % count].send(accepted).await),
    }
}

fn serve_connection(rt: &Rt, accepted: Accepted, disk: &Disk, bugs: Bugs) {
    let Ok((read, write)) = accepted.bind() else { return };
    let disk = disk.clone();
    // However it ends, the connection closes with it.
    let dying = rt.clone();
    rt.spawn(async move { drop(answer(read, write, disk, &dying, bugs).await) });
}

async fn answer(read: ReadHalf, mut write: WriteHalf, disk: Disk, rt: &Rt, bugs: Bugs) -> Result<()> {
    let mut frames = FrameReader::new(read, 1 << 10);
    while let Some(length) = frames.next_length().await? {
        let mut body = frames.body(length).await?;
        let (client, number) = (body.try_get_u64()?, body.try_get_u64()?);
        if bugs.answers_early {
            write.write_all_vectored(&[&frame(&number.to_be_bytes())]).await?;
        }
        match store(&disk, client, number).await {
            // It may have lost what another request has written and is about to flush.
            Err(error) if error.operation == "flush" => rt.die(&error.to_string()),
            outcome => outcome?,
        }
        if !bugs.answers_early {
            write.write_all_vectored(&[&frame(&number.to_be_bytes())]).await?;
        }
    }
    Ok(())
}

async fn store(disk: &Disk, client: u64, number: u64) -> Result<(), DiskError> {
    disk.replace_small(&path_of(client, number), &number.to_be_bytes()).await
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("bodies are small");
    [&length.to_be_bytes(), body].concat()
}

/// The clients' process: each executor one client, which has its numbers stored one after the other.
fn ask(address: SocketAddr, acknowledged: Acknowledged, trace: Trace) -> Boot {
    Rc::new(move |process: Process| {
        for (client, rt) in (0..).zip(process.executors) {
            let (net, acknowledged, trace) = (process.net.clone(), acknowledged.clone(), trace.clone());
            let own = rt.clone();
            rt.spawn(async move {
                let mut connection = None;
                let mut number = 1;
                while number <= NUMBERS {
                    if connection.is_none() {
                        connection = in_time(&own, net.connect(address)).await.ok();
                    }
                    let Some((read, write)) = connection.take() else {
                        own.sleep(Duration::from_millis(50 + own.random_u64() % 100)).await;
                        continue;
                    };
                    if let Ok(halves) = in_time(&own, request(read, write, client, number)).await {
                        trace.log(own.now().0, "clients", format_args!("{client}: {number} is stored"));
                        acknowledged.numbers.borrow_mut().insert((client, number));
                        connection = Some(halves);
                        number += 1;
                    }
                    own.sleep(Duration::from_millis(own.random_u64() % 400)).await;
                }
                acknowledged.finished.set(acknowledged.finished.get() + 1);
            });
        }
    })
}

async fn request(read: ReadHalf, mut write: WriteHalf, client: u64, number: u64) -> io::Result<(ReadHalf, WriteHalf)> {
    write.write_all_vectored(&[&frame(&[client.to_be_bytes(), number.to_be_bytes()].concat())]).await?;
    let mut read = read;
    let mut answer = bytes::BytesMut::with_capacity(12);
    while answer.len() < 12 {
        if read.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert_eq!(answer[4..], number.to_be_bytes(), "an answer to another question");
    Ok((read, write))
}

async fn in_time<T>(rt: &Rt, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    or(work, async {
        rt.sleep(ANSWER_TIME).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_trace_byte_for_byte() {
        for seed in 1..6 {
            let (first, second) = (run(seed, None, Bugs::default()), run(seed, None, Bugs::default()));
            assert_eq!(first.0, second.0);
            assert!(first.0.trace.contains("is stored"));
        }
        assert_ne!(run(1, None, Bugs::default()).0, run(2, None, Bugs::default()).0);
    }

    #[test]
    fn nothing_acknowledged_is_lost_under_crashes_and_cuts() {
        let mut crashes = 0;
        for seed in 1..100 {
            let (report, verdict) = run(seed, None, Bugs::default());
            verdict.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            crashes += report.trace.matches("crashes").count();
        }
        assert!(crashes > 100, "the world was too kind: {crashes} crashes");
    }

    #[test]
    fn a_server_that_answers_early_is_caught() {
        let bugs = Bugs { answers_early: true };
        let caught = (1..100).find(|seed| run(*seed, None, bugs).1.is_err());
        assert!(caught.is_some());
    }

    #[test]
    fn a_bound_on_steps_ends_the_run() {
        let (report, verdict) = run(1, Some(50), Bugs::default());
        assert!(verdict.is_ok());
        assert_eq!(report.steps, 50);
    }
}
