//! This broker's session with the controller: its registration, its heartbeats, and its leave.
//!
//! *Which core*: metadata.
//! *Invariants*: a heartbeat says no more than every shard acts on; one is under way at a time, and is given up for a newer one, so
//! that a controller that has gone costs no more than an interval or two.
//! *Not here*: what the controller makes of it (`metadata::controller::brokers`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;

use crate::limits;
use crate::metadata::controller::{BrokerRegistration, Heartbeat};
use crate::metadata::image::BrokerEpoch;
use crate::metadata::node::Node;
use crate::metadata::quorum::Control;
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::metadata::wait::Signal;
use crate::model::BrokerId;
use crate::rt::Rt;

/// See the module.
pub(super) struct Session {
    rt: Rt,
    node: Rc<Node>,
    control: Rc<Control>,
    broker: BrokerId,
    epoch: BrokerEpoch,
    interval: Duration,
    wants_to_leave: Cell<bool>,
    /// What was heard last.
    stands: Cell<Option<Heartbeat>>,
    heard: Signal,
}

impl Session {
    /// Registers this incarnation, as often as it takes: elections pass (lesson 51).
    pub(super) async fn begin(
        rt: &Rt,
        node: Rc<Node>,
        control: Rc<Control>,
        registration: BrokerRegistration,
        interval: Duration,
    ) -> Result<Rc<Session>, String> {
        let broker = registration.broker;
        let epoch = register(rt, &control, registration).await?;
        Ok(Rc::new(Session {
            rt: rt.clone(),
            node,
            control,
            broker,
            epoch,
            interval,
            wants_to_leave: Cell::new(false),
            stands: Cell::new(None),
            heard: Signal::default(),
        }))
    }

    /// Says that it lives, for as long as it does. Two brokers of one number end here.
    pub(super) async fn keep(self: Rc<Self>) {
        loop {
            let begun = self.rt.now();
            match or(self.beat(), self.late()).await {
                Ok(Reply::Heartbeat(Ok(stands))) => {
                    self.stands.set(Some(stands));
                    self.heard.raise();
                }
                Ok(Reply::Heartbeat(Err(error))) => {
                    self.rt.die(&format!("another process has taken this broker's place: {error}"));
                }
                Ok(_) => unreachable!("a heartbeat is answered by another"),
                Err(SubmitError::Stopping) => return,
                Err(error) => tracing::debug!(%error, "a heartbeat was not answered"),
            }
            self.rt.sleep(self.interval.saturating_sub(self.rt.now().since(begun))).await;
        }
    }

    async fn beat(&self) -> Result<Reply, SubmitError> {
        let wants_to_leave = self.wants_to_leave.get();
        let (broker, epoch, applied) = (self.broker, self.epoch, self.node.acted_on());
        self.control.ask(Request::Heartbeat { broker, epoch, wants_to_leave, applied }).await
    }

    async fn late(&self) -> Result<Reply, SubmitError> {
        self.rt.sleep(self.interval * 2).await;
        Err(SubmitError::Unknown)
    }

    /// Waits until the controller counts on this broker.
    pub(super) async fn unfenced(&self) {
        self.heard.until(|| self.stands.get().filter(|stands| !stands.fenced).map(|_| ())).await;
    }

    /// Gives up what this broker leads, and waits until everybody knows; for a bounded time, for there may be no controller.
    pub(super) async fn leave(&self) {
        self.wants_to_leave.set(true);
        let gone =
            async { self.heard.until(|| self.stands.get().filter(|stands| stands.may_leave).map(|_| true)).await };
        let late = async {
            self.rt.sleep(Duration::from_millis(limits::LEAVE_MS_MAX)).await;
            false
        };
        if !or(gone, late).await {
            tracing::warn!("no controller took over what this broker leads within {} ms", limits::LEAVE_MS_MAX);
        }
    }
}

async fn register(rt: &Rt, control: &Control, registration: BrokerRegistration) -> Result<BrokerEpoch, String> {
    loop {
        match control.ask(Request::RegisterBroker(registration.clone())).await {
            Ok(Reply::RegisterBroker(Ok(epoch))) => return Ok(epoch),
            Ok(Reply::RegisterBroker(Err(error))) => return Err(error.to_string()),
            Err(SubmitError::NotController { .. } | SubmitError::Busy | SubmitError::Unknown) => {
                rt.sleep(Duration::from_millis(limits::METADATA_RETRY_MS)).await;
            }
            Ok(_) => return Err("the broker was not registered".into()),
            Err(error @ (SubmitError::TooLarge(_) | SubmitError::Stopping)) => return Err(error.to_string()),
        }
    }
}
