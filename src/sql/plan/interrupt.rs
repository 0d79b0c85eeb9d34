//! What stops a statement while it is planned.
//!
//! Planning waits for nothing, so it cannot be dropped at an await as a running query is; a statement of many terms can
//! keep it busy for seconds. It therefore looks now and then whether anybody still wants its result: at every operator
//! that is typed, and between the optimiser's rules.
//!
//! Must not know: who asks for the stop, how.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::error::external;
use crate::sql::SqlError;

/// Asked whether the statement is to go on; the error says why not. Cheap to clone.
#[derive(Clone)]
pub struct Interrupt(Arc<dyn Fn() -> Result<(), SqlError> + Send + Sync>);

impl Interrupt {
    pub fn new(check: impl Fn() -> Result<(), SqlError> + Send + Sync + 'static) -> Interrupt {
        Interrupt(Arc::new(check))
    }

    /// An error once the statement is to stop.
    pub fn check(&self) -> PlanResult<()> {
        (self.0)().map_err(external)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

/// How the rule below gets at the statement it runs for: optimisers are shared by all sessions, options are not.
impl ConfigExtension for Interrupt {
    const PREFIX: &'static str = "interrupt";
}

impl ExtensionOptions for Interrupt {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> PlanResult<()> {
        datafusion::common::internal_err!("an interrupt has no option {key}")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// The rules with a look at the interrupt between any two of them.
pub fn interruptible(rules: &[Arc<dyn OptimizerRule + Send + Sync>]) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    rules
        .iter()
        .flat_map(|rule| [Arc::clone(rule), Arc::new(Look) as Arc<dyn OptimizerRule + Send + Sync>])
        .collect()
}

/// A rule that changes nothing and fails once the statement is to stop.
#[derive(Debug)]
struct Look;

impl OptimizerRule for Look {
    fn name(&self) -> &str {
        "look_at_interrupt"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        if let Some(interrupt) = config.options().extensions.get::<Interrupt>() {
            interrupt.check()?;
        }
        Ok(Transformed::no(plan))
    }
}
