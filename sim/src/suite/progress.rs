//! What a suite has done, in a file, so that one that was stopped goes on where it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SuiteOptions;
use super::tally::Tally;
use crate::failure::COMMIT;
use crate::files;
use crate::process::Stopwatch;

/// How often it is written. What was done since is done again.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Which runs have finished, counted from the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// All below this.
    below: u64,
    /// And these, beyond one that has not.
    beyond: BTreeSet<u64>,
}

impl Done {
    pub fn holds(&self, index: u64) -> bool {
        index < self.below || self.beyond.contains(&index)
    }

    fn add(&mut self, index: u64) {
        self.beyond.insert(index);
        while self.beyond.remove(&self.below) {
            self.below += 1;
        }
    }
}

/// What makes it the same suite.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    scenarios: Vec<String>,
    kept: Vec<PathBuf>,
    base: u64,
    twice: u64,
    #[serde(default)]
    twice_every: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub struct Progress {
    identity: Identity,
    commit: String,
    pub done: Done,
    pub tally: Tally,
    wall_before_micros: u64,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    saved: Duration,
}

impl Progress {
    /// Of a new suite, or of the one that is to go on: then `options` get its first seed.
    pub fn begin(options: &mut SuiteOptions) -> Result<Progress, String> {
        let path = options.report.join(files::PROGRESS);
        if options.resume {
            match files::read_if_any(&path)? {
                Some(text) => return Progress::go_on(&text, &path, options),
                None => eprintln!("{} has nothing to go on with; starting anew", path.display()),
            }
        }
        Ok(Progress {
            identity: identity(options),
            commit: COMMIT.to_owned(),
            done: Done::default(),
            tally: Tally::default(),
            wall_before_micros: 0,
            path,
            saved: Duration::ZERO,
        })
    }

    fn go_on(text: &str, path: &Path, options: &mut SuiteOptions) -> Result<Progress, String> {
        let shown = path.display();
        let mut progress: Progress = serde_json::from_str(text)
            .map_err(|error| format!("{shown}: not the progress of a suite of this build: {error}"))?;
        options.base = progress.identity.base;
        if progress.identity != identity(options) {
            return Err(format!(
                "{shown} is the progress of another suite, of {}, the first {} seeds twice; name the same, or another --report",
                progress.identity.scenarios.join(", "),
                progress.identity.twice
            ));
        }
        if progress.commit != COMMIT {
            eprintln!(
                "the runs so far were of {}, those from here on are of {COMMIT}",
                progress.commit
            );
        }
        eprintln!(
            "going on after {} runs, of which {} failed",
            progress.tally.runs, progress.tally.failures
        );
        path.clone_into(&mut progress.path);
        Ok(progress)
    }

    pub fn finished(&mut self, index: u64, watch: &Stopwatch) -> Result<(), String> {
        self.done.add(index);
        if watch.elapsed() >= self.saved + SAVE_EVERY {
            self.save(watch)?;
        }
        Ok(())
    }

    pub fn save(&mut self, watch: &Stopwatch) -> Result<(), String> {
        self.saved = watch.elapsed();
        let before = self.wall_before_micros;
        self.wall_before_micros = micros(self.wall(watch));
        let text = serde_json::to_string(self).expect("progress is plain data");
        self.wall_before_micros = before;
        files::write(&self.path, &text)
    }

    /// Since the very first run, without the time in between.
    pub fn wall(&self, watch: &Stopwatch) -> Duration {
        Duration::from_micros(self.wall_before_micros) + watch.elapsed()
    }
}

/// What the suite that wrote to `folder` has seen.
pub fn tally_of(folder: &Path) -> Result<Tally, String> {
    let path = folder.join(files::PROGRESS);
    let shown = path.display();
    let text = files::read_if_any(&path)?;
    let text = text.ok_or_else(|| format!("{shown}: no suite has written its report there"))?;
    let progress: Progress = serde_json::from_str(&text)
        .map_err(|error| format!("{shown}: not the progress of a suite of this build: {error}"))?;
    Ok(progress.tally)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn identity(options: &SuiteOptions) -> Identity {
    Identity {
        scenarios: options.scenarios.clone(),
        kept: options.kept.clone(),
        base: options.base,
        twice: options.twice,
        twice_every: options.twice_every,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    #[test]
    fn runs_that_overtake_each_other_are_remembered() {
        let mut done = Done::default();
        for index in [1, 3, 0] {
            done.add(index);
        }
        assert_eq!(
            done,
            Done {
                below: 2,
                beyond: [3].into()
            }
        );
        let held: Vec<u64> = (0..6).filter(|index| done.holds(*index)).collect();
        assert_eq!(held, [0, 1, 3]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "removes its own folder")]
    fn a_suite_goes_on_with_its_own_base_and_no_other_suite_does() {
        let folder = std::env::temp_dir().join(format!("understudy-progress-{}", std::process::id()));
        let watch = Stopwatch::start();
        let with = |base, scenarios: &[&str]| SuiteOptions {
            base,
            scenarios: scenarios.iter().map(|name| (*name).to_owned()).collect(),
            resume: true,
            report: folder.clone(),
            ..options()
        };
        let mut first = Progress::begin(&mut with(7, &["calm"])).unwrap();
        first.tally.runs = 2;
        first.finished(0, &watch).unwrap();
        first.finished(2, &watch).unwrap();
        first.save(&watch).unwrap();

        let mut options = with(99, &["calm"]);
        let second = Progress::begin(&mut options).unwrap();
        assert_eq!((options.base, second.tally.runs), (7, 2));
        assert!(second.done.holds(0) && !second.done.holds(1) && second.done.holds(2));
        assert!(second.wall(&watch) >= Duration::from_micros(first.wall_before_micros));

        let error = Progress::begin(&mut with(7, &["wild"])).err().unwrap();
        assert!(error.contains("the progress of another suite, of calm"), "{error}");
        std::fs::write(folder.join(files::PROGRESS), "{").unwrap();
        assert!(Progress::begin(&mut with(7, &["calm"])).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
