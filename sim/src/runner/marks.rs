//! Marks: moments of the plan that others wait for. A mark is reached once and stays so.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone)]
pub struct Marks(Arc<watch::Sender<BTreeSet<String>>>);

impl Default for Marks {
    fn default() -> Marks {
        Marks(Arc::new(watch::Sender::new(BTreeSet::new())))
    }
}

impl Marks {
    pub fn reach(&self, mark: &str) {
        self.0.send_modify(|reached| {
            reached.insert(mark.to_owned());
        });
    }

    pub fn is_reached(&self, mark: &str) -> bool {
        self.0.borrow().contains(mark)
    }

    pub async fn wait(&self, mark: &str) {
        let mut reached = self.0.subscribe();
        reached
            .wait_for(|reached| reached.contains(mark))
            .await
            .expect("the marks outlive everybody who waits");
    }
}
