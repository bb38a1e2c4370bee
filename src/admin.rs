//! The admin listener: metrics, health, and a page for people.
//!
//! *Which core*: a thread of its own, unpinned, with a runtime of its own; nothing here may run on an executor.
//! *Invariants*: it reads atomics and waits for no shard; connections are bounded in number and age.
//! *Not here*: what the numbers mean (`metrics`). Who may ask: it asks nobody, which is why it binds to loopback by default.

mod bounded;
mod page;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::{Metrics, Renderer, State as BrokerState};
use bounded::Bounded;

/// How long requests in flight may take once the listener is told to stop.
const STOP_TIME_MAX: Duration = Duration::from_millis(500);

/// Why the admin listener did not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its address cannot be had.
    #[error("the admin listener cannot listen on {address}: {error} (--admin-port, --admin-bind-addr)")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// Its thread or runtime cannot be had.
    #[error("the admin thread cannot be started: {0}")]
    Thread(io::Error),
}

/// The running admin listener.
pub struct Admin {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What requests are answered from.
struct Shared {
    metrics: Arc<Metrics>,
    renderer: Mutex<Renderer>,
    config: Config,
}

/// Listens, and answers from a thread of its own. The address is taken when this returns.
pub fn start(config: &Config, metrics: Arc<Metrics>) -> Result<Admin, AdminError> {
    let address = config.process.admin_bind;
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    let (local_addr, listener) = bound.map_err(|error| AdminError::Bind { address, error })?;
    if !local_addr.ip().is_loopback() {
        tracing::warn!(%local_addr, "the admin listener asks nobody who they are, and is open to other machines");
    }
    let renderer = Mutex::new(Renderer::new(metrics.clone(), config.process.partition_metrics));
    let shared = Arc::new(Shared { metrics, renderer, config: config.clone() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Thread)?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("admin".into())
        .spawn(move || runtime.block_on(serve(listener, shared, stopped)))
        .map_err(AdminError::Thread)?;
    tracing::info!("admin listener on http://{local_addr}");
    Ok(Admin { local_addr, stop, thread })
}

impl Admin {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening, finishes what is in flight for up to half a second, and ends the thread.
    pub fn stop(self) {
        // The receiver is gone only if the thread has ended by itself.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => Bounded::new(listener),
        Err(error) => return tracing::error!(%error, "the admin listener does not work"),
    };
    let (drain, draining) = oneshot::channel::<()>();
    let served = axum::serve(listener, router(shared)).with_graceful_shutdown(async {
        // Dropped or sent: either way it is the end.
        let _ = draining.await;
    });
    let served = tokio::spawn(async move { served.await });
    let _ = stopped.await;
    drop(drain);
    let _ = tokio::time::timeout(STOP_TIME_MAX, served).await;
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(status))
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    Html(page::status(&shared.config, &shared.metrics))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = shared.renderer.lock().unwrap_or_else(PoisonError::into_inner).render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.metrics.process.health.state() {
        BrokerState::Ready => (StatusCode::OK, "ready\n"),
        BrokerState::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        BrokerState::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

#[cfg(test)]
mod tests;
