//! Control: metadata requests on their way to the controller, and answers on their way back.
//!
//! *Which core*: metadata.
//! *Invariants*: whoever asked is answered once: after this node has applied the change and every shard acts on it, within
//! [`limits::CONTROL_WAIT_MS_MAX`]; a request that was sent and not answered may have come to pass, and is never sent again
//! from here; calls in flight are bounded on both sides.
//! *Not here*: asking again after an election (whoever knows the client's time-out does that).

mod frame;
mod line;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use net::peer_frame::PeerFrameReader;
use net::stream::{ReadHalf, WriteHalf};

use super::peers::Peers;
use crate::limits;
use crate::local::Budget;
use crate::metadata::node::Node;
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;
use crate::peer::hello::Purpose;

use frame::{AnswerFrame, CallFrame};
use line::{Answers, Line};

/// See the module.
pub struct Control {
    node: Rc<Node>,
    peers: Rc<Peers>,
    lines: RefCell<BTreeMap<BrokerId, Rc<Line>>>,
    /// One dials at a time: the others find its line.
    dialing: Budget,
}

impl Control {
    /// Forwards between this node and its peers.
    pub fn new(node: Rc<Node>, peers: Rc<Peers>) -> Rc<Control> {
        Rc::new(Control { node, peers, lines: RefCell::default(), dialing: Budget::new(1) })
    }

    /// Asks the controller, wherever it is. Resolves when the answer counts here too.
    ///
    /// # Errors
    /// See [`SubmitError`]: nothing was changed, but for `Unknown` and `Stopping`.
    pub async fn ask(&self, request: Request) -> Result<Reply, SubmitError> {
        if self.node.am_controller() {
            return self.node.submit(request).await;
        }
        let controller = self.node.image().controller().filter(|controller| *controller != self.peers.local.node);
        let Some(controller) = controller else { return Err(SubmitError::NotController { controller: None }) };
        let bytes = frame::request_to_bytes(&request)?;
        let line = self.line_to(controller).await?;
        let late = async {
            self.peers.rt.sleep(Duration::from_millis(limits::CONTROL_WAIT_MS_MAX)).await;
            Err(SubmitError::Unknown)
        };
        let AnswerFrame { outcome, version, .. } = or(line.call(bytes), late).await?;
        if outcome.is_ok() {
            // It is so, known here or not.
            let late = self.peers.rt.sleep(Duration::from_millis(limits::CONTROL_WAIT_MS_MAX));
            or(self.node.reached(version), late).await;
        }
        outcome
    }

    async fn line_to(&self, controller: BrokerId) -> Result<Rc<Line>, SubmitError> {
        let _turn = self.dialing.acquire(1).await;
        let open = self.lines.borrow().get(&controller).filter(|line| line.is_open()).cloned();
        if let Some(line) = open {
            return Ok(line);
        }
        match self.peers.dial(controller, Purpose::Control, limits::CONTROL_FRAME_BYTES_MAX).await {
            Ok(connection) => {
                let line = Line::start(&self.peers.rt, connection);
                self.lines.borrow_mut().insert(controller, line.clone());
                Ok(line)
            }
            Err(error) => {
                tracing::debug!("the controller, broker {}, is not reached: {error}", controller.0);
                Err(SubmitError::NotController { controller: None })
            }
        }
    }

    /// Serves a peer's requests, whose welcome has been said, until it hangs up.
    pub async fn serve(self: Rc<Self>, read: ReadHalf, write: WriteHalf) {
        let mut frames = PeerFrameReader::new(read, limits::CONTROL_FRAME_BYTES_MAX);
        let answers = Answers::start(&self.peers.rt, write);
        while let Ok(Some(body)) = frames.next().await {
            let Ok(CallFrame { number, request }) = CallFrame::from_bytes(&body) else { break };
            if !answers.begin() {
                // It keeps to the same bound unless it is out of its mind.
                break;
            }
            let (control, answers) = (self.clone(), answers.clone());
            self.peers.rt.spawn(async move {
                let outcome = control.node.submit(request).await;
                let version = control.node.image().version();
                answers.end(AnswerFrame { number, version, outcome });
            });
        }
        answers.close();
    }
}
