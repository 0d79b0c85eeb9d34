//! Servers that can be started, stopped, killed and wiped, and conditions to wait for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::chunk::{Hash, StoreOptions};
use crate::config::{BootstrapRole, ClusterConfig, ClusterListener, Endpoint, StandbyRemote};
use crate::engine::{
    ClusterControl, ClusterError, ClusterStatusRow, Engine, EngineError, EngineOptions, SessionHandle, SessionId,
    Superuser,
};
use crate::replication::cluster::peer::Peer;
use crate::replication::cluster::{Cluster, RepairPeer, stored_role};
use crate::runtime;
use crate::runtime::disk::simulated::SimDisk;
use crate::runtime::net::TcpListener;
use crate::version::{Column, ColumnType, TableName, TableSchema, Value, encode_key};

/// Longer than a session may take to end.
const LIMIT: Duration = Duration::from_secs(30);
/// What tests wait for a demotion that cannot succeed.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What is logged on this thread, for as long as this lives.
pub struct LogOfThread {
    text: Arc<Mutex<Vec<u8>>>,
    _listening: tracing::subscriber::DefaultGuard,
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogOfThread {
    pub fn listen() -> LogOfThread {
        let text = Arc::new(Mutex::new(Vec::new()));
        let lines = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(lines.clone()))
            .finish();
        LogOfThread {
            text,
            _listening: tracing::subscriber::set_default(subscriber),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.text.lock().clone()).expect("log lines are text")
    }
}

pub struct Server {
    pub disk: SimDisk,
    config: ClusterConfig,
    running: Option<(Engine, Cluster)>,
}

/// Ports that were free a moment ago.
pub async fn free_ports<const N: usize>() -> [u16; N] {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    std::array::from_fn(|index| listeners[index].local_addr().unwrap().port())
}

/// A server at `port` whose standby remotes are at `peers`.
pub fn server(seed: u64, port: u16, peers: &[u16], role: BootstrapRole, epoch: u64) -> Server {
    let remote = |(index, port): (usize, &u16)| StandbyRemote {
        name: if index == 0 {
            "standby".to_owned()
        } else {
            format!("standby{index}")
        },
        remote_url_template: format!("http://127.0.0.1:{port}/{{database}}"),
        endpoint: Endpoint {
            host: "127.0.0.1".to_owned(),
            port: *port,
        },
    };
    let config = ClusterConfig {
        standby_remotes: peers.iter().enumerate().map(remote).collect(),
        bootstrap_role: role,
        bootstrap_epoch: epoch,
        remotesapi: ClusterListener {
            address: "127.0.0.1".to_owned(),
            port,
        },
    };
    Server {
        disk: SimDisk::new(seed),
        config,
        running: None,
    }
}

/// The primary A and the standby B of the seed document, at epoch 1 and started.
pub async fn pair() -> (Server, Server) {
    let (mut a, mut b) = stopped_pair().await;
    a.start().await;
    b.start().await;
    (a, b)
}

pub async fn stopped_pair() -> (Server, Server) {
    let [a, b] = free_ports().await;
    (
        server(1, a, &[b], BootstrapRole::Primary, 1),
        server(2, b, &[a], BootstrapRole::Standby, 1),
    )
}

/// The cluster port of `server` as a peer sees it.
pub fn peer_of(server: &Server) -> Peer {
    let port = server.cluster().local_addr().port();
    Peer::new(&StandbyRemote {
        name: "x".to_owned(),
        remote_url_template: String::new(),
        endpoint: Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
        },
    })
}

impl Server {
    pub async fn start(&mut self) {
        let disk = self.disk.disk();
        stored_role(&self.config, &disk).await.unwrap();
        let options = EngineOptions {
            superuser: Superuser {
                name: "postgres".to_owned(),
                password: "password".to_owned(),
            },
            read_only: None,
            store: StoreOptions::default(),
            auto_collect: None,
        };
        let engine = Engine::open(disk.clone(), options).await.unwrap();
        let cluster = Cluster::start_with(engine.clone(), &self.config, &disk, DRAIN_LIMIT)
            .await
            .unwrap();
        self.running = Some((engine, cluster));
    }

    pub async fn stop(&mut self) {
        let (_, cluster) = self.running.take().unwrap();
        cluster.shutdown().await;
    }

    /// The process ends without a word; what was not synced is lost.
    pub async fn power_off(&mut self) {
        self.disk.power_off();
        let (_, cluster) = self.running.take().unwrap();
        cluster.abandon().await;
    }

    /// An empty data folder in place of the former.
    pub fn wipe(&mut self, seed: u64) {
        assert!(self.running.is_none(), "stopped before it is wiped");
        self.disk = SimDisk::new(seed);
    }

    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// What a repair of this server, which is stopped, asks `other` with.
    pub async fn repair_peer(&self, other: &Server) -> RepairPeer {
        let url = format!("http://127.0.0.1:{}", other.config.remotesapi.port);
        RepairPeer::open(&self.config, &self.disk.disk(), &url).await.unwrap()
    }

    pub fn engine(&self) -> &Engine {
        &self.running.as_ref().unwrap().0
    }

    pub fn cluster(&self) -> &Cluster {
        &self.running.as_ref().unwrap().1
    }

    pub fn control(&self) -> Arc<dyn ClusterControl> {
        self.engine().cluster().unwrap()
    }

    /// `primary@1`.
    pub fn role(&self) -> String {
        format!("{}@{}", self.control().role(), self.control().epoch())
    }

    pub async fn assume(&self, role: &str, epoch: i64) -> Result<(), ClusterError> {
        self.control().assume_role(role, epoch, SessionId(u64::MAX)).await
    }

    pub async fn create_database(&self, name: &str) {
        let database = self.engine().create_database(name).await.unwrap();
        let mut transaction = database.begin();
        let column = |name: &str, column_type| Column {
            name: name.to_owned(),
            column_type,
            not_null: true,
            default: None,
        };
        let columns = vec![column("id", ColumnType::Int8), column("value", ColumnType::Text)];
        transaction
            .create_table(
                &table(),
                TableSchema {
                    columns,
                    primary_key: vec![0],
                },
            )
            .unwrap();
        database.commit(transaction).await.unwrap();
    }

    pub async fn insert(&self, database: &str, ids: impl IntoIterator<Item = i64>) -> Result<(), EngineError> {
        let database = self.engine().database(database)?;
        let mut transaction = database.begin();
        for id in ids {
            transaction.insert(&table(), vec![Value::Int8(id), Value::Text(format!("row {id}"))])?;
        }
        database.commit(transaction).await.map(|_| ())
    }

    /// Takes the row with this id out again.
    pub async fn delete(&self, database: &str, id: i64) -> Result<(), EngineError> {
        let database = self.engine().database(database)?;
        let mut transaction = database.begin();
        let schema = transaction.table_schema(&table())?.expect("the table was created");
        let key = encode_key(&schema, &[Value::Int8(id), Value::Null]);
        assert!(transaction.delete(&table(), &key)?, "row {id} is there");
        database.commit(transaction).await.map(|_| ())
    }

    /// The ids in the table.
    pub fn ids(&self, database: &str) -> Vec<i64> {
        self.table(database).expect("the database and its table are there")
    }

    /// None where there is no such database, or no table in it.
    fn table(&self, database: &str) -> Option<Vec<i64>> {
        let transaction = self.engine().database(database).ok()?.begin();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let rows = transaction.scan(&table(), everything).ok()?;
        let ids = rows.map(|row| match row.unwrap().1[0] {
            Value::Int8(id) => id,
            ref other => panic!("an id is an int8, not {other:?}"),
        });
        Some(ids.collect())
    }

    pub fn names(&self) -> Vec<String> {
        self.engine()
            .databases()
            .iter()
            .map(|database| database.name().to_owned())
            .collect()
    }

    pub fn root(&self, database: &str) -> Option<Hash> {
        self.engine()
            .database(database)
            .ok()
            .map(|database| database.store().published().root)
    }

    /// The newest root, durable or not.
    pub fn pending(&self, database: &str) -> Hash {
        self.engine().database(database).unwrap().store().pending().root
    }

    /// Waits until every standby has acknowledged everything, as the drain of a demotion does.
    pub async fn drain(&self, limit: Duration) -> Result<(), Vec<String>> {
        self.cluster().core().links.drain_all(limit).await
    }

    pub fn status(&self, database: &str) -> ClusterStatusRow {
        let rows = self.control().status();
        rows.into_iter()
            .find(|row| row.database == database)
            .expect("a row for each database")
    }

    /// A client that ends as soon as it is told to.
    pub fn connect(&self) -> runtime::Task<&'static str> {
        let session: SessionHandle = self.engine().sessions().register("postgres", "app");
        runtime::spawn("client", async move { session.terminated().await })
    }

    pub async fn is(&self, role: &str) {
        until(&format!("role {role}"), || self.role() == role, || self.role()).await;
    }

    pub async fn has(&self, database: &str, ids: impl IntoIterator<Item = i64>) {
        let expected = Some(ids.into_iter().collect());
        let found = || self.table(database);
        until("rows", || found() == expected, || format!("{:?}", found())).await;
    }
}

fn table() -> TableName {
    TableName::new("public", "t")
}

/// Waits for a condition; `shown` says what there is instead.
pub async fn until(what: &str, condition: impl Fn() -> bool, shown: impl Fn() -> String) {
    let good = async {
        while !condition() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    };
    if runtime::timeout(LIMIT, good).await.is_err() {
        panic!("waited {LIMIT:?} for {what}; there is {}", shown());
    }
}
