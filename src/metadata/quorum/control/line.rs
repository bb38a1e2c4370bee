//! Both ends of a control connection: calls with numbers in flight on one side, answers on the other.
//!
//! *Which core*: metadata. *Invariants*: when a connection ends, every call in flight on it ends too, without an answer.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use net::peer_frame;
use net::stream::WriteHalf;

use super::frame::{self, AnswerFrame};
use crate::limits;
use crate::local::{OneshotSender, oneshot};
use crate::metadata::request::SubmitError;
use crate::metadata::wait::Signal;
use crate::peer::Connection;
use crate::rt::Rt;

/// Frames on their way out of one connection.
#[derive(Default)]
struct Outbox {
    frames: RefCell<VecDeque<Vec<u8>>>,
    changed: Signal,
    is_closed: Cell<bool>,
}

impl Outbox {
    fn push(&self, frame: Vec<u8>) {
        self.frames.borrow_mut().push_back(frame);
        self.changed.raise();
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.changed.raise();
    }

    async fn send_all(&self, mut writer: WriteHalf) {
        let next = || match self.frames.borrow_mut().pop_front() {
            None if self.is_closed.get() => Some(None),
            frame => frame.map(Some),
        };
        while let Some(frame) = self.changed.until(next).await {
            if peer_frame::write(&mut writer, &[&frame]).await.is_err() {
                break;
            }
        }
        // The reading half ends with it.
        writer.shutdown();
    }
}

/// The asking end.
pub(super) struct Line {
    outbox: Outbox,
    calls: RefCell<BTreeMap<u64, OneshotSender<AnswerFrame>>>,
    last_number: Cell<u64>,
}

impl Line {
    pub(super) fn start(rt: &Rt, connection: Connection) -> Rc<Line> {
        let Connection { mut reader, writer, .. } = connection;
        let line = Rc::new(Line { outbox: Outbox::default(), calls: RefCell::default(), last_number: Cell::new(0) });
        let (sending, hearing) = (line.clone(), line.clone());
        rt.spawn(async move { sending.outbox.send_all(writer).await });
        rt.spawn(async move {
            while let Ok(Some(body)) = reader.next().await {
                let Ok(answer) = AnswerFrame::from_bytes(&body) else { break };
                let call = hearing.calls.borrow_mut().remove(&answer.number);
                if let Some(call) = call {
                    call.send(answer);
                }
            }
            hearing.outbox.close();
            hearing.calls.take();
        });
        line
    }

    pub(super) fn is_open(&self) -> bool {
        !self.outbox.is_closed.get()
    }

    /// Sends a request's bytes and waits for the answer. Dropped, the call is forgotten.
    pub(super) async fn call(&self, request: Bytes) -> Result<AnswerFrame, SubmitError> {
        if !self.is_open() {
            return Err(SubmitError::NotController { controller: None });
        }
        if self.calls.borrow().len() >= limits::CONTROL_CALLS_MAX {
            return Err(SubmitError::Busy);
        }
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        let (sender, receiver) = oneshot();
        self.calls.borrow_mut().insert(number, sender);
        let _forget = Forget { line: self, number };
        self.outbox.push(frame::call_to_bytes(number, request));
        receiver.await.ok_or(SubmitError::Unknown)
    }
}

/// Forgets a call that nobody waits for any more.
struct Forget<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.line.calls.borrow_mut().remove(&self.number);
    }
}

/// The answering end.
#[derive(Clone)]
pub(super) struct Answers(Rc<AnswersInner>);

struct AnswersInner {
    outbox: Outbox,
    in_flight: Cell<usize>,
}

impl Answers {
    pub(super) fn start(rt: &Rt, writer: WriteHalf) -> Answers {
        let answers = Answers(Rc::new(AnswersInner { outbox: Outbox::default(), in_flight: Cell::new(0) }));
        let sending = answers.clone();
        rt.spawn(async move { sending.0.outbox.send_all(writer).await });
        answers
    }

    /// One more call; false: there are too many.
    pub(super) fn begin(&self) -> bool {
        // Answers that wait for a slow reader count too.
        let count = self.0.in_flight.get() + self.0.outbox.frames.borrow().len();
        let begins = count < limits::CONTROL_CALLS_MAX;
        self.0.in_flight.set(self.0.in_flight.get() + usize::from(begins));
        begins
    }

    pub(super) fn end(&self, answer: AnswerFrame) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if !self.0.outbox.is_closed.get() {
            self.0.outbox.push(answer.to_bytes());
        }
    }

    pub(super) fn close(&self) {
        self.0.outbox.close();
    }
}
