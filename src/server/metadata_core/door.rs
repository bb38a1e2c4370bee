//! Where peers come in: their connections are heard, greeted, and handed to whom they are for.
//!
//! *Which core*: metadata; a follower's stream travels on to its leader's shard.
//! *Invariants*: at most [`limits::PEER_CONNECTIONS_MAX`] connections at once; who comes too early is told so, and comes again.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use net::stream::{Accepted, Listener};

use crate::limits;
use crate::mesh::Mesh;
use crate::message::{Core, Request};
use crate::metadata::quorum::{Control, Founding, Transport};
use crate::model::ShardId;
use crate::peer::hello::Purpose;
use crate::peer::{Incoming, IncomingError, Local, receive};
use crate::rt::Rt;
use crate::server::{Setup, World};

/// See the module.
pub(super) struct Door {
    rt: Rt,
    shards: usize,
    local: RefCell<Local>,
    founding: Rc<Founding>,
    group: OnceCell<(Rc<Transport>, Rc<Control>)>,
    mesh: OnceCell<Mesh>,
    connections: Cell<usize>,
}

impl Door {
    /// Listens for peers; those that found a cluster are served at once.
    pub(super) fn listen(
        world: &World,
        setup: &Setup,
        address: SocketAddr,
        local: Local,
        founding: Rc<Founding>,
    ) -> Result<Rc<Door>, String> {
        let listener = world
            .net
            .listen(address, limits::LISTEN_BACKLOG)
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let door = Rc::new(Door {
            rt: world.rt.clone(),
            shards: setup.shards,
            local: RefCell::new(local),
            founding,
            group: OnceCell::new(),
            mesh: OnceCell::new(),
            connections: Cell::new(0),
        });
        world.rt.spawn(door.clone().accept(listener));
        Ok(door)
    }

    /// From now on the metadata group is served.
    pub(super) fn open_group(&self, local: &Local, transport: Rc<Transport>, control: Rc<Control>) {
        self.local.replace(local.clone());
        assert!(self.group.set((transport, control)).is_ok(), "the group is there once");
    }

    /// From now on followers' streams go to the shards.
    pub(super) fn open_shards(&self, mesh: Mesh) {
        assert!(self.mesh.set(mesh).is_ok(), "the shards begin once");
    }

    async fn accept(self: Rc<Self>, listener: Listener) {
        let mut backoff_ms = limits::ACCEPT_BACKOFF_MS_MIN;
        loop {
            match listener.accept().await {
                Ok(accepted) if self.connections.get() < limits::PEER_CONNECTIONS_MAX => {
                    backoff_ms = limits::ACCEPT_BACKOFF_MS_MIN;
                    self.connections.set(self.connections.get() + 1);
                    let door = self.clone();
                    self.rt.spawn(async move {
                        let from = accepted.peer_address();
                        if let Err(error) = door.serve(accepted).await {
                            tracing::debug!("peer {from}: {error}");
                        }
                        door.connections.set(door.connections.get() - 1);
                    });
                }
                Ok(_) => tracing::warn!("more than {} connections of peers", limits::PEER_CONNECTIONS_MAX),
                Err(error) => {
                    tracing::warn!("accept: {error}; trying again in {backoff_ms} ms");
                    self.rt.sleep(Duration::from_millis(backoff_ms)).await;
                    backoff_ms = (backoff_ms * 2).min(limits::ACCEPT_BACKOFF_MS_MAX);
                }
            }
        }
    }

    async fn serve(&self, accepted: Accepted) -> Result<(), IncomingError> {
        let local = self.local.borrow().clone();
        let incoming = receive(&self.rt, accepted, &local).await?;
        match incoming.hello.purpose {
            Purpose::Found => self.serve_founding(incoming, &local).await,
            Purpose::Raft => self.serve_raft(incoming, &local).await,
            Purpose::Control => {
                let Some((_, control)) = self.group.get() else { return Err(too_early(incoming).await) };
                let (read, write) = incoming.welcome(&local).await?;
                control.clone().serve(read, write).await;
                Ok(())
            }
            Purpose::Replication { to_shard, .. } => self.hand_on(incoming, &local, to_shard as usize).await,
        }
    }

    async fn serve_founding(&self, incoming: Incoming, local: &Local) -> Result<(), IncomingError> {
        let hello = incoming.hello.clone();
        let (read, write) = incoming.welcome(local).await?;
        if let Err(error) = self.founding.serve(&hello, read, write).await {
            self.rt.die(&error.to_string());
        }
        Ok(())
    }

    async fn serve_raft(&self, incoming: Incoming, local: &Local) -> Result<(), IncomingError> {
        let Some((transport, _)) = self.group.get() else { return Err(too_early(incoming).await) };
        let node = incoming.hello.node.0;
        let raft_id = match transport.admit(&incoming.hello) {
            Ok(raft_id) => raft_id,
            Err(reason) => return Err(incoming.refuse(reason).await),
        };
        // The writing half says nothing, but the connection ends with it.
        let (read, _write) = incoming.welcome(local).await?;
        if let Err(error) = transport.receive(raft_id, read).await {
            tracing::info!("metadata: the stream of broker {node} ended: {error}");
        }
        Ok(())
    }

    async fn hand_on(&self, incoming: Incoming, local: &Local, shard: usize) -> Result<(), IncomingError> {
        let Some(mesh) = self.mesh.get() else { return Err(too_early(incoming).await) };
        if shard >= self.shards {
            let reason = format!("this broker has {} shards, none of number {shard}", self.shards);
            return Err(incoming.refuse(reason).await);
        }
        let hello = incoming.hello.clone();
        let (read, write) = incoming.welcome(local).await?;
        let connection = Accepted::unbind(read, write)?;
        mesh.call(Core::Shard(ShardId(shard)), Request::ReplicaStream { connection, hello }).await;
        Ok(())
    }
}

async fn too_early(incoming: Incoming) -> IncomingError {
    incoming.refuse("this broker is still starting".into()).await
}
