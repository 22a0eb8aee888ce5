//! The page that is given out, made when somebody asks for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::{
    agent,
    counters::Counters,
    processes,
    text::{Exposition, Format},
};
use crate::{
    agent::ask::Asker,
    status::{Health, Status},
};

/// How old an answer may be. Many questions in a short time cost as much as one.
pub(super) const FRESH: Duration = Duration::from_millis(250);

/// How long the agent's loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knows whom to ask.
pub(super) struct Page {
    counters: Arc<Mutex<Counters>>,
    asker: Asker,
    /// Most processes that are shown one by one.
    processes: u32,
    /// What was answered last. Whoever makes a new one holds the lock, and others wait for it.
    last: tokio::sync::Mutex<Option<Made>>,
    last_health: tokio::sync::Mutex<Option<(Instant, Option<Health>)>>,
}

struct Made {
    at: Instant,
    format: Format,
    text: Bytes,
}

impl Page {
    pub(super) fn new(counters: Arc<Mutex<Counters>>, asker: Asker, processes: u32) -> Self {
        Self { counters, asker, processes, last: None.into(), last_health: None.into() }
    }

    /// The figures.
    pub(super) async fn text(&self, format: Format) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some(made) = &*last
            && made.format == format
            && made.at.elapsed() < FRESH
        {
            return made.text.clone();
        }
        let text = Bytes::from(self.make(format).await);
        *last = Some(Made { at: Instant::now(), format, text: text.clone() });
        text
    }

    /// How the agent is; `None` when it does not answer.
    pub(super) async fn health(&self) -> Option<Health> {
        let mut last = self.last_health.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < FRESH
        {
            return *health;
        }
        let health = self.status().await.map(|status| status.health);
        *last = Some((Instant::now(), health));
        health
    }

    async fn status(&self) -> Option<Box<Status>> {
        timeout(PATIENCE, self.asker.status()).await.ok().flatten()
    }

    async fn make(&self, format: Format) -> String {
        let status = self.status().await;
        let rows = timeout(PATIENCE, self.asker.processes()).await.ok().flatten();
        let mut out = Exposition::new(format);
        {
            let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.write(&mut out);
            match &status {
                Some(status) => agent::write(&mut out, status, &counters),
                None => agent::write_losses(&mut out, &counters),
            }
        }
        out.gauge(
            "procwatch_answering",
            "1 when the agent's loop answered; without its answer only what was told is counted.",
            u8::from(status.is_some()),
        );
        if let Some(rows) = rows {
            processes::write(&mut out, rows, self.processes);
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::ask::Ask, samples};

    #[tokio::test(start_paused = true)]
    async fn the_loop_is_asked_once_however_many_ask_and_again_later() {
        let (asker, mut asks) = Asker::channel();
        let counters = Arc::new(Mutex::new(Counters::default()));
        let page = Page::new(Arc::clone(&counters), asker, 10);
        let asked = tokio::spawn(async move {
            let mut asked = 0;
            while let Some(ask) = asks.recv().await {
                asked += 1;
                if let Ask::Status(answer) = ask {
                    let _ = answer.send(Box::new(samples::status()));
                }
            }
            asked
        });
        let (first, second) = tokio::join!(page.text(Format::Prometheus), page.text(Format::Prometheus));
        assert_eq!(first, second);
        let text = String::from_utf8(first.to_vec()).unwrap();
        assert!(text.contains("procwatch_answering 1\n") && !text.contains("procwatch_process_threads"));
        counters.lock().unwrap().count(&samples::all()[7].body);
        assert_eq!(page.text(Format::Prometheus).await, second);
        tokio::time::advance(FRESH).await;
        assert_ne!(page.text(Format::Prometheus).await, second);
        assert_eq!(page.health().await, Some(Health::Degraded));
        drop(page);
        assert_eq!(asked.await.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_there_is_what_was_counted() {
        let (asker, asks) = Asker::channel();
        let page = Page::new(Arc::default(), asker, 10);
        let text = String::from_utf8(page.text(Format::Prometheus).await.to_vec()).unwrap();
        assert!(text.contains("procwatch_answering 0\n"), "{text}");
        assert!(text.contains("procwatch_ring_records_lost_total{ring=\"urgent\"} 0\n"), "{text}");
        assert_eq!(page.health().await, None);
        drop(asks);
        assert_eq!(page.health().await, None);
    }

    #[tokio::test]
    async fn all_of_a_status_is_there() {
        let mut out = Exposition::new(Format::Prometheus);
        let mut counters = Counters::default();
        for record in samples::all() {
            counters.count(&record.body);
        }
        agent::write(&mut out, &samples::status(), &counters);
        let text = out.finish();
        for line in [
            "procwatch_build_info{version=\"0.1.0\"} 1",
            "process_resident_memory_bytes 12000000",
            "process_cpu_seconds_total 1.5",
            "procwatch_armed_timestamp_seconds 1795359845.123",
            "procwatch_health{state=\"ok\"} 0",
            "procwatch_health{state=\"degraded\"} 1",
            "procwatch_enforcing 1",
            "procwatch_machine_processes 120",
            "procwatch_machine_threads 400",
            "procwatch_config_reload_success 0",
            "procwatch_ring_records_lost_total{ring=\"stream\"} 200",
            "procwatch_ring_records_lost_total{ring=\"urgent\"} 3",
            "procwatch_ring_waiting_bytes{ring=\"urgent\"} 64",
            "procwatch_ring_size_bytes{ring=\"urgent\"} 65536",
            "procwatch_program_run_seconds_total{program=\"task_newtask\"} 0.002",
            "procwatch_kernel_unread_total{what=\"argv\"} 4",
            "procwatch_strays_total 1",
            "procwatch_left_alone_total{reason=\"already-inside\"} 7",
            "procwatch_move_errors_total{error=\"EBUSY\"} 1",
            "procwatch_rule_processes{rule=\"threads[1] comm=python3\"} 2",
            "procwatch_slice_present{rule=\"place[1] user=aimgr\",slice=\"user-1003.slice\"} 1",
            "procwatch_output_dropped_total{output=\"webhook ops\"} 2",
            "procwatch_output_failing{output=\"webhook ops\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in {text}");
        }
    }
}
