use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::*;
use crate::{
    agent::ask::Ask,
    record::{Body, Health, HealthTopic},
    samples,
    socket::{
        client::{Client, ClientError, Heard},
        protocol::EventsRequest,
    },
    table::ProcessTable,
};

/// A socket whose agent answers with no processes, and welcomes as the agent's loop does.
struct Scene {
    _folder: TempDir,
    path: PathBuf,
    server: Box<Server>,
    audience: Arc<Audience>,
    complaints: mpsc::Receiver<String>,
    asked: Arc<Mutex<u32>>,
}

impl Scene {
    fn new(max_clients: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let config = SocketConfig { path: path.clone(), group: String::new(), max_clients, ring_kib: 4 };
        let (asker, mut asks) = Asker::channel();
        let (complain, complaints) = Complaints::channel();
        let audience = Audience::new();
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(ask) = asks.recv().await {
                *count.lock().unwrap() += 1;
                match ask {
                    Ask::Processes(who) => drop(who.send(Vec::new())),
                    // An agent that ends.
                    Ask::Status(who) => drop(who),
                }
            }
        });
        let listens = Arc::clone(&audience);
        tokio::spawn(async move {
            loop {
                listens.changed().await;
                listens.welcome(&armed(), |_| {});
            }
        });
        let mut server = Box::new(Server::open(&config, &audience, &asker, &complain).unwrap());
        server.take_place().unwrap();
        Self { _folder: folder, path, server, audience, complaints, asked }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.path).await.unwrap()
    }

    /// One who listens and has been welcomed.
    async fn listener(&self, request: EventsRequest) -> Client {
        let mut client = self.client().await;
        client.listen(request).await.unwrap();
        assert_eq!(hear(&mut client).await, "health");
        client
    }

    fn tell(&mut self, kind: &str) {
        let record = samples::all().into_iter().find(|record| record.body.kind().name() == kind).unwrap();
        self.server.on(&Told::new(record).unwrap());
    }
}

fn armed() -> Bytes {
    let health = Health { topic: HealthTopic::Armed, message: "armed".to_owned() };
    crate::socket::audience::line(&samples::record(Body::Health(health))).unwrap()
}

async fn hear(client: &mut Client) -> String {
    match client.hear().await.unwrap() {
        Heard::Record(record, _) => record.body.kind().name().to_owned(),
        Heard::Answer(answer) => panic!("{answer:?}"),
    }
}

fn in_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Says something and returns all that comes back until the end.
async fn say(path: &PathBuf, text: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The other end may close before it has all.
    let _ = stream.write_all(text).await;
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        heard.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(heard).unwrap()
}

#[test]
fn the_agent_greets_and_refuses_what_is_no_request() {
    in_runtime(async {
        let scene = Scene::new(4);
        for (text, why) in [
            (&b"spoon\n"[..], "no request"),
            (b"{\"ask\":\"events\",\"kinds\":[\"spoon\"]}\n", "there is no kind"),
            (&b"x".repeat(100_000), "a line of more than 32768 bytes"),
            (&b"\n".repeat(1000), "no request"),
        ] {
            let heard = say(&scene.path, text).await;
            let lines: Vec<Answer> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let [Answer::Hello { protocol: 1, pid, .. }, Answer::Refused { why: told }] = &lines[..] else {
                panic!("{heard}");
            };
            assert_eq!(*pid, std::process::id());
            assert!(told.contains(why), "{told}");
        }
    });
}

#[test]
fn listeners_are_told_what_they_want_in_its_order() {
    in_runtime(async {
        let mut scene = Scene::new(4);
        let mut all = scene.listener(EventsRequest::default()).await;
        let outcomes = EventsRequest { kinds: vec!["outcome".to_owned()], ..EventsRequest::default() };
        let mut some = scene.listener(outcomes).await;
        for kind in ["alert", "outcome", "action", "outcome"] {
            scene.tell(kind);
        }
        for kind in ["alert", "outcome", "action", "outcome"] {
            assert_eq!(hear(&mut all).await, kind);
        }
        assert_eq!((hear(&mut some).await, hear(&mut some).await), ("outcome".into(), "outcome".into()));
        scene.tell("hold");
        scene.server.finish();
        assert_eq!(hear(&mut all).await, "hold", "what waits is written at the end");
        assert!(matches!(all.hear().await, Err(ClientError::Gone)));
        assert!(!scene.path.exists());
    });
}

#[test]
fn one_who_does_not_read_is_let_go_of_and_told_and_complained_about() {
    in_runtime(async {
        let mut scene = Scene::new(4);
        let mut slow = scene.listener(EventsRequest::default()).await;
        let mut good = scene.listener(EventsRequest::default()).await;
        let mut told = 0;
        while scene.audience.account().let_go == 0 {
            for _ in 0..64 {
                scene.tell("alert");
            }
            for _ in 0..64 {
                assert_eq!(hear(&mut good).await, "alert");
            }
            told += 64;
            assert!(told < 100_000, "nobody is let go of");
        }
        let complaint = scene.complaints.recv().await.unwrap();
        assert!(complaint.contains("reads too slowly") && complaint.contains("uid "), "{complaint}");
        let mut read = 0;
        let why = loop {
            match slow.hear().await {
                Ok(Heard::Record(..)) => read += 1,
                Err(ClientError::Refused(why)) => break why,
                other => panic!("{other:?}"),
            }
        };
        assert!(why.starts_with("you read too slowly"), "{why}");
        let dropped = scene.audience.account().dropped;
        assert!(read > 0 && read + dropped <= told && why.contains(&format!("{dropped} lines")), "{why}");
        assert!(matches!(slow.hear().await, Err(ClientError::Gone)));
        while scene.audience.count() == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.server.status().failed, 1);
    });
}

#[test]
fn those_beyond_the_bound_are_turned_away() {
    in_runtime(async {
        let mut scene = Scene::new(1);
        // Root finds room besides.
        let places = 1 + if nix::unistd::geteuid().is_root() { KEPT_FOR_ROOT } else { 0 };
        let mut inside = Vec::new();
        for _ in 0..places {
            inside.push(scene.client().await);
        }
        let error = Client::connect(&scene.path).await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(why) if why.contains("max-clients")), "{error}");
        assert!(scene.complaints.recv().await.unwrap().contains("was turned away"));
        inside.pop();
        while scene.audience.count() == places {
            tokio::task::yield_now().await;
        }
        scene.client().await;
    });
}

#[test]
fn one_answer_serves_all_who_ask_at_once() {
    in_runtime(async {
        let scene = Scene::new(16);
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(scene.client().await);
        }
        for client in &mut clients {
            client.ask(&crate::socket::protocol::Request::Processes).await.unwrap();
        }
        for client in &mut clients {
            let answer = client.hear().await.unwrap();
            assert!(matches!(answer, Heard::Answer(Answer::Processes { .. })));
        }
        assert!(*scene.asked.lock().unwrap() < 8, "some of them share an answer");
        assert!(clients[0].processes().await.unwrap().is_empty(), "one may ask again");
        let error = clients[1].status().await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(why) if why == "the agent ends"), "{error}");
    });
}

#[test]
fn a_new_wish_takes_the_place_of_the_old_one() {
    in_runtime(async {
        let mut scene = Scene::new(4);
        let mut client = scene.listener(EventsRequest::default()).await;
        let holds = EventsRequest { kinds: vec!["hold".to_owned()], ..EventsRequest::default() };
        client.listen(holds).await.unwrap();
        assert_eq!(hear(&mut client).await, "health");
        for kind in ["alert", "hold"] {
            scene.tell(kind);
        }
        assert_eq!(hear(&mut client).await, "hold");
        let forks = EventsRequest { kinds: vec!["fork".to_owned()], ..EventsRequest::default() };
        assert_eq!(scene.audience.stream_kinds(), 0);
        client.listen(forks).await.unwrap();
        assert_eq!(hear(&mut client).await, "health");
        assert_ne!(scene.audience.stream_kinds(), 0);
        drop(client);
        while scene.audience.stream_kinds() != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.audience.count(), 0);
    });
}

#[test]
fn ancestors_are_told_to_those_who_want_them() {
    in_runtime(async {
        let mut scene = Scene::new(4);
        let mut table = ProcessTable::new();
        table.add_picture(&[samples::subject(100, 0)]);
        scene.audience.set_table(Some(table));
        let mut plain = scene.listener(EventsRequest::default()).await;
        let wish = EventsRequest { lineage: true, ..EventsRequest::default() };
        let mut with_lineage = scene.listener(wish).await;
        for kind in ["alert", "loss"] {
            scene.tell(kind);
        }
        let mut lineages = Vec::new();
        for client in [&mut plain, &mut with_lineage] {
            let Heard::Record(record, _) = client.hear().await.unwrap() else { panic!("a record") };
            assert_eq!(record.body.kind().name(), "alert");
            lineages.push(record.body.process().unwrap().lineage.as_ref().map(|it| it[0].pid));
            assert_eq!(hear(client).await, "loss");
        }
        assert_eq!(lineages, [None, Some(100)]);
    });
}
