//! The acceptor: hands each connection to the shard with the fewest.
//!
//! *Which core*: metadata. *Invariants*: no more than `max.connections` at once, nor more on a shard than it has memory for; a
//! shard's call is answered when the connection ends, which is how they are counted.
//! *Why* not SO_REUSEPORT: the kernel would spread by hash, and leave few big producers on few cores.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use net::stream::Listener;

use crate::limits;
use crate::mesh::Mesh;
use crate::message::{Core, Request};
use crate::model::ShardId;
use crate::server::{Setup, World};

/// Accepts for as long as the broker runs.
pub async fn run(world: World, setup: Setup, mesh: Mesh, listener: Listener) {
    let open = Rc::new(RefCell::new(vec![0usize; setup.shards]));
    let connections_max = setup.config.broker.max_connections.min(setup.shards * limits::CONNECTIONS_PER_SHARD_MAX);
    let mut backoff_ms = limits::ACCEPT_BACKOFF_MS_MIN;
    while !setup.stop.is_raised() {
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // EMFILE and its like come back at once and for as long as they last.
                tracing::warn!("accept: {error}; trying again in {backoff_ms} ms");
                setup.metrics.process.accept_failed();
                world.rt.sleep(Duration::from_millis(backoff_ms)).await;
                backoff_ms = (backoff_ms * 2).min(limits::ACCEPT_BACKOFF_MS_MAX);
                continue;
            }
        };
        backoff_ms = limits::ACCEPT_BACKOFF_MS_MIN;
        if open.borrow().iter().sum::<usize>() >= connections_max {
            setup.metrics.process.connection_refused();
            continue;
        }
        setup.metrics.process.connection_accepted();
        let shard = fewest(&open.borrow());
        open.borrow_mut()[shard] += 1;
        let ended = mesh.call(Core::Shard(ShardId(shard)), Request::Connection(accepted));
        let open = open.clone();
        world.rt.spawn(async move {
            ended.await;
            open.borrow_mut()[shard] -= 1;
        });
    }
}

fn fewest(open: &[usize]) -> usize {
    open.iter().enumerate().min_by_key(|(_, count)| **count).map_or(0, |(shard, _)| shard)
}
