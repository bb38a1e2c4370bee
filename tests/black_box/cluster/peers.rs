//! What comes in by the port for brokers and is none: refused with a reason or cut off, and nothing else is disturbed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use chronik::model::BrokerId;
use chronik::peer::hello::{Answer, HELLO_BYTES_MAX, Hello, PEER_FORMAT, Purpose};

use crate::support::cluster::Cluster;

struct Peer(TcpStream);

impl Peer {
    fn connect(cluster: &Cluster, node: i32) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", cluster.raft_port(node))).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
        Self(stream)
    }

    /// The broker may have had enough already.
    fn send(&mut self, bytes: &[u8]) {
        let _cut_off = self.0.write_all(bytes);
    }

    fn say(&mut self, hello: &Hello) -> Answer {
        self.send(&frame(&hello.to_bytes()));
        let mut head = [0; 8];
        self.0.read_exact(&mut head).expect("an answer");
        let mut body = vec![0; u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize];
        self.0.read_exact(&mut body).expect("all of it");
        Answer::from_bytes(&body).expect("an answer to a hello")
    }

    /// Whether the broker ends the connection, without another word.
    fn is_cut_off(&mut self) -> bool {
        match self.0.read(&mut [0; 64]) {
            Ok(bytes) => bytes == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&net::peer_frame::header(&[body])[..], body].concat()
}

/// What broker 2 would say to another one, but for its data directory.
fn hello(cluster: &Cluster, to: i32, purpose: Purpose) -> Hello {
    Hello {
        format: PEER_FORMAT,
        cluster_id: cluster.metadata(to).cluster_id.map(|id| id.to_string()),
        node: BrokerId(to % 3 + 1),
        directory_id: uuid::Uuid::from_u128(7),
        broker_epoch: None,
        to: BrokerId(to),
        purpose,
    }
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let cluster = Cluster::start();
    let good = hello(&cluster, 1, Purpose::Raft);
    let replication = Purpose::Replication { from_shard: 0, to_shard: 7 };
    for (bad, why) in [
        (Hello { format: PEER_FORMAT + 1, ..good.clone() }, "your format is"),
        (Hello { to: BrokerId(3), ..good.clone() }, "this is broker 1"),
        (Hello { cluster_id: Some("other".into()), ..good.clone() }, "not other"),
        (Hello { cluster_id: None, ..good.clone() }, "no cluster yet"),
        (Hello { node: BrokerId(9), ..good.clone() }, "no vote"),
        (good.clone(), "has lost what it knew"),
        (Hello { purpose: replication, ..good }, "none of number 7"),
    ] {
        match Peer::connect(&cluster, 1).say(&bad) {
            Answer::Refused { reason } => assert!(reason.contains(why), "{bad:?}: {reason}"),
            Answer::Welcome(welcome) => panic!("{bad:?} is welcome to {welcome:?}"),
        }
    }
}

#[test]
fn what_is_no_frame_ends_the_connection_and_the_cluster_goes_on() {
    let mut cluster = Cluster::start();
    let controller = cluster.controller(&[1, 2, 3]);
    let mut damaged = frame(b"a body");
    damaged[8] ^= 1;
    let too_large = [u32::try_from(HELLO_BYTES_MAX).expect("small") + 1, 0].map(u32::to_be_bytes).concat();
    // The last is half a frame, and then silence.
    for garbage in [b"GET / HTTP/1.1\r\n\r\n", &damaged[..], &too_large, &frame(b"no hello"), &[0xff; 5000], &[0, 0]] {
        let mut peer = Peer::connect(&cluster, controller);
        peer.send(garbage);
        assert!(peer.is_cut_off(), "{garbage:?}");
    }
    for purpose in [Purpose::Control, Purpose::Found] {
        let mut peer = Peer::connect(&cluster, controller);
        assert!(matches!(peer.say(&hello(&cluster, controller, purpose)), Answer::Welcome(_)));
        peer.send(&[0xff; 5000]);
        assert!(peer.is_cut_off(), "{purpose:?}");
    }
    assert_eq!(cluster.controller(&[1, 2, 3]), controller, "no election came of it");
    assert_eq!(cluster.create_topic(controller, "after"), 0);
}
