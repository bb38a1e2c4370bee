//! Three brokers as processes: how they become a cluster, and stay one.

mod campaign;
mod clients;
mod cuts;
mod founding;
mod metadata;
mod peers;
mod replication;
mod scale;
mod snapshots;
mod tools;
