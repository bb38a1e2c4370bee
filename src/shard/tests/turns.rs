//! What the next turn waits for.

use std::time::Duration;

use super::rig::Rig;

const TURN_TIME: Duration = Duration::from_micros(300);
const PATIENCE: Duration = Duration::from_micros(100);

/// How long the next turn waits after one that answered so many, when a produce comes at each of these times.
fn waited(answered: usize, coming: &[Duration]) -> Duration {
    let rig = Rig::empty(1);
    let shard = rig.shard.clone();
    let coming = coming.to_vec();
    rig.run(async move {
        let begun = shard.rt.now();
        shard.turns.end();
        for time in coming {
            let shard = shard.clone();
            shard.rt.clone().spawn(async move {
                shard.rt.sleep(time).await;
                shard.turns.on_produce();
            });
        }
        shard.turns.gather(&shard.rt, answered, TURN_TIME).await;
        shard.rt.now().since(begun)
    })
}

#[test]
fn the_next_turn_waits_for_as_many_as_were_answered() {
    let time = |us| Duration::from_micros(us);
    assert_eq!(waited(1, &[time(20)]), time(20));
    assert_eq!(waited(2, &[time(20), time(50), time(80)]), time(50));
    assert_eq!(waited(0, &[]), Duration::ZERO);
}

#[test]
fn the_next_turn_does_not_wait_for_producers_that_stay_away() {
    assert_eq!(waited(3, &[Duration::from_micros(20)]), PATIENCE);
}

#[test]
fn only_a_turn_in_flight_is_waited_for() {
    let rig = Rig::empty(1);
    let shard = rig.shard.clone();
    rig.run(async move {
        shard.turns.ended().await;
        shard.turns.begin();
        let begun = shard.rt.now();
        let ending = shard.clone();
        shard.rt.spawn(async move {
            ending.rt.sleep(PATIENCE).await;
            ending.turns.end();
        });
        shard.turns.ended().await;
        assert_eq!(shard.rt.now().since(begun), PATIENCE);
    });
}
