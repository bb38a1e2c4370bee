//! Tests of the simulated executors.

use std::cell::{Cell, RefCell};

use super::super::{channel, stop_pair};
use super::*;

/// Runs until nothing is left to do, or until `until_ns`.
fn drive(runtime: &SimRuntime, until_ns: u64) {
    runtime.run_ready();
    while let Some(due_ns) = runtime.next_due().filter(|due_ns| *due_ns <= until_ns) {
        runtime.run_due(due_ns);
        runtime.run_ready();
    }
}

fn trace(seed: u64) -> Vec<String> {
    let runtime = SimRuntime::new(seed);
    let log = Rc::new(RefCell::new(Vec::new()));
    for executor in 0..3 {
        let (_, rt) = runtime.new_executor(&format!("executor-{executor}"));
        for task in 0..4 {
            let (rt2, log) = (rt.clone(), log.clone());
            rt.spawn(async move {
                for step in 0..3 {
                    log.borrow_mut().push(format!("{} {executor}.{task}.{step}", rt2.now().0));
                    rt2.yield_if_needed().await;
                    rt2.sleep(Duration::from_micros(rt2.random_u64() % 3)).await;
                }
            });
        }
    }
    drive(&runtime, u64::MAX);
    log.take()
}

#[test]
fn the_same_seed_gives_the_same_order_and_another_another() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
    assert_eq!(trace(1).len(), 36);
}

#[test]
fn time_moves_only_by_its_driver() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let woken_at = Rc::new(Cell::new(0));
    let (rt2, seen) = (rt.clone(), woken_at.clone());
    rt.spawn(async move {
        rt2.sleep(Duration::from_millis(5)).await;
        seen.set(rt2.now().0);
    });
    runtime.run_ready();
    assert_eq!(runtime.next_due(), Some(5_000_000));
    runtime.run_due(4_999_999);
    runtime.run_ready();
    assert_eq!(woken_at.get(), 0);
    runtime.run_due(6_000_000);
    runtime.run_ready();
    assert_eq!(woken_at.get(), 6_000_000);
    assert_eq!(runtime.next_due(), None);
}

#[test]
fn the_wall_clock_may_jump_while_time_goes_on() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let before = rt.wall_ms();
    runtime.run_due(2_000_000);
    assert_eq!(rt.wall_ms(), before + 2);
    runtime.jump_wall_clock(-3_600_000);
    assert_eq!(rt.wall_ms(), before + 2 - 3_600_000);
    assert_eq!(rt.now().0, 2_000_000);
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let rt2 = rt.clone();
    rt.spawn(async move {
        let long = rt2.sleep(Duration::from_secs(60));
        let short = rt2.sleep(Duration::from_millis(1));
        futures_lite::future::or(long, short).await;
    });
    drive(&runtime, u64::MAX);
    assert_eq!(runtime.now_ns(), 1_000_000);
}

#[test]
fn a_task_that_yields_runs_after_all_that_were_runnable() {
    for seed in 0..50 {
        let runtime = SimRuntime::new(seed);
        let (_, rt) = runtime.new_executor("a");
        let others = Rc::new(Cell::new(0));
        let seen = Rc::new(Cell::new(0));
        let (rt2, others2, seen2) = (rt.clone(), others.clone(), seen.clone());
        rt.spawn(async move {
            for _ in 0..10 {
                let others = others2.clone();
                rt2.spawn(async move { others.set(others.get() + 1) });
            }
            rt2.yield_now().await;
            seen2.set(others2.get());
        });
        runtime.run_ready();
        assert_eq!(seen.get(), 10);
    }
}

#[test]
fn a_task_that_yields_is_not_starved_by_two_that_wake_each_other() {
    let runtime = SimRuntime::new(3);
    let (_, rt) = runtime.new_executor("a");
    let over = Rc::new(Cell::new(false));
    let (rt2, over2) = (rt.clone(), over.clone());
    let busy = over.clone();
    rt.spawn(async move {
        // Wakes itself without yielding.
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if busy.get() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    });
    rt.spawn(async move {
        rt2.yield_now().await;
        over2.set(true);
    });
    runtime.run_ready();
    assert!(over.get());
}

struct SetOnDrop(Rc<Cell<bool>>);
impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn a_killed_executor_drops_its_tasks_and_runs_nothing_again() {
    let runtime = SimRuntime::new(1);
    let (executor, rt) = runtime.new_executor("a");
    let (dropped, ran) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (guard, rt2) = (SetOnDrop(dropped.clone()), rt.clone());
    rt.spawn(async move {
        let _guard = guard;
        rt2.sleep(Duration::from_secs(1)).await;
    });
    runtime.run_ready();
    assert_eq!(runtime.task_count(executor), 1);
    runtime.kill_executor(executor);
    assert!(dropped.get());
    let ran2 = ran.clone();
    rt.spawn(async move { ran2.set(true) });
    drive(&runtime, u64::MAX);
    assert!(!ran.get());
    assert_eq!((runtime.task_count(executor), runtime.now_ns()), (0, 0));
}

#[test]
fn an_executor_may_kill_itself_from_within_a_task() {
    let runtime = Rc::new(SimRuntime::new(1));
    let (executor, rt) = runtime.new_executor("a");
    let (runtime2, rt2) = (Rc::downgrade(&runtime), rt.clone());
    rt.spawn(async move {
        runtime2.upgrade().expect("the world stands").kill_executor(executor);
        rt2.sleep(Duration::from_secs(1)).await;
    });
    drive(&runtime, u64::MAX);
    assert_eq!((runtime.task_count(executor), runtime.next_due()), (0, None));
}

#[test]
fn a_stalled_executor_runs_nothing_until_it_goes_on() {
    let runtime = SimRuntime::new(1);
    let (executor, rt) = runtime.new_executor("a");
    let ran_at = Rc::new(Cell::new(None));
    let (rt2, ran_at2) = (rt.clone(), ran_at.clone());
    runtime.stall_executor(executor, 7_000);
    rt.spawn(async move { ran_at2.set(Some(rt2.now().0)) });
    drive(&runtime, u64::MAX);
    assert_eq!(ran_at.get(), Some(7_000));
}

#[test]
fn a_ring_between_simulated_executors_is_bounded_ordered_and_closes() {
    for seed in 0..50 {
        let runtime = SimRuntime::new(seed);
        let (_, one) = runtime.new_executor("one");
        let (_, two) = runtime.new_executor("two");
        let (mut sender, mut receiver) = channel::<u32>(4);
        let got = Rc::new(RefCell::new(Vec::new()));
        let (rt, longest) = (one.clone(), Rc::new(Cell::new(0)));
        let longest2 = longest.clone();
        one.spawn(async move {
            sender.connect(&rt).await;
            for number in 0..100 {
                sender.send(number).await.expect("the receiver lives");
                let mut full = 0;
                while sender.try_send(number).is_ok() {
                    full += 1;
                }
                longest2.set(longest2.get().max(full));
            }
        });
        let (rt, got2) = (two.clone(), got.clone());
        two.spawn(async move {
            receiver.connect(&rt).await;
            while let Some(number) = receiver.recv().await {
                got2.borrow_mut().push(number);
            }
        });
        drive(&runtime, u64::MAX);
        let mut got = got.take();
        assert!(longest.get() <= 3 && got.is_sorted());
        got.dedup();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn killing_one_end_of_a_ring_is_seen_by_the_other() {
    let runtime = SimRuntime::new(5);
    let (victim, one) = runtime.new_executor("one");
    let (_, two) = runtime.new_executor("two");
    let (mut sender, mut receiver) = channel::<u32>(4);
    let rt = one.clone();
    one.spawn(async move {
        sender.connect(&rt).await;
        rt.sleep(Duration::from_secs(1)).await;
    });
    let ended = Rc::new(Cell::new(false));
    let (rt, ended2) = (two.clone(), ended.clone());
    two.spawn(async move {
        receiver.connect(&rt).await;
        assert_eq!(receiver.recv().await, None);
        ended2.set(true);
    });
    runtime.run_ready();
    assert!(!ended.get());
    runtime.kill_executor(victim);
    runtime.run_ready();
    assert!(ended.get());
}

#[test]
fn a_raised_flag_wakes_its_waiters_and_dropped_ones_leave() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let (stop, flag) = stop_pair();
    let woken = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let (flag, woken, rt2) = (flag.clone(), woken.clone(), rt.clone());
        rt.spawn(async move {
            futures_lite::future::or(flag.raised(), rt2.sleep(Duration::from_millis(1))).await;
            flag.raised().await;
            woken.set(woken.get() + 1);
        });
    }
    drive(&runtime, u64::MAX);
    assert_eq!(woken.get(), 0);
    stop.raise();
    runtime.run_ready();
    assert_eq!(woken.get(), 3);
}

#[test]
#[should_panic(expected = "tasks run without end")]
fn a_loop_that_never_waits_is_found() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let rt2 = rt.clone();
    rt.spawn(async move {
        loop {
            rt2.yield_now().await;
        }
    });
    runtime.run_ready();
}

#[test]
fn a_process_that_dies_stops_the_run_and_the_others_go_on_without_it() {
    let runtime = SimRuntime::new(1);
    let (victim, one) = runtime.new_executor("one");
    let (_, two) = runtime.new_executor("two");
    let (dying, ran) = (one.clone(), Rc::new(Cell::new(0)));
    one.spawn(async move { dying.die("the disk is gone") });
    for rt in [&one, &two] {
        let (rt2, ran) = (rt.clone(), ran.clone());
        rt.spawn(async move {
            rt2.sleep(Duration::from_secs(1)).await;
            ran.set(ran.get() + 1);
        });
    }
    let death = runtime.run_until_death().expect("a task dies");
    assert_eq!(death, Death { executor: victim, message: "the disk is gone".into() });
    runtime.kill_executor(victim);
    drive(&runtime, u64::MAX);
    assert_eq!(ran.get(), 1);
}

#[test]
#[should_panic(expected = "FATAL: the disk is gone")]
fn where_nobody_expects_a_death_it_ends_the_simulation() {
    let runtime = SimRuntime::new(1);
    let (_, rt) = runtime.new_executor("a");
    let dying = rt.clone();
    rt.spawn(async move { dying.die("the disk is gone") });
    runtime.run_ready();
}
