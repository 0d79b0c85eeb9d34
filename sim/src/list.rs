//! `cargo sim list`: the words that scenario files can use.

use understudy::runtime::sites::{FACTS, SITES};

use crate::check::{self, Section};
use crate::cli::List;
use crate::commands::load;
use crate::{files, scenario, storage, swarm, workload};

/// Prints what is asked for: scenarios, if nothing in particular is.
pub fn list(what: &List) -> Result<(), String> {
    if what.disk {
        println!("disk:");
        for word in scenario::disk::WORDS {
            println!("    {}: {}", word.name, word.about);
        }
        println!("storage:");
        for number in storage::spec::NUMBERS {
            println!("    {}: {}", number.name, number.about);
        }
    } else if what.suites {
        for (suite, about) in scenario::SUITES {
            println!("{suite}\n    {about}");
        }
    } else if what.buggify {
        for site in SITES {
            println!("{} ({}%)\n    {}", site.name, site.percent, site.about);
        }
    } else if what.checks || what.sometimes {
        for check in check::CHECKS
            .iter()
            .filter(|check| (check.section == Section::Sometimes) == what.sometimes)
        {
            println!("{}\n    {}", check.name, check.about);
        }
        for check in check::ALWAYS_ON.iter().filter(|_| what.checks) {
            println!("{} (always on)\n    {}", check.name, check.about);
        }
        for fact in FACTS.iter().filter(|_| what.sometimes) {
            println!(
                "{}{}\n    {}",
                fact.name,
                if fact.rare { " (rare)" } else { "" },
                fact.about
            );
        }
    } else if what.workloads {
        for kind in workload::KINDS {
            println!("{}\n    {}", kind.name, kind.about);
            for param in kind.params {
                println!(
                    "    {}: {} (default {}..{}, at most {})",
                    param.name, param.about, param.default.0, param.default.1, param.max
                );
            }
        }
    } else if what.faults {
        println!("actions of steps:");
        for (word, _) in scenario::step::actions() {
            println!("    {word}");
        }
        println!("swarm (* light, too):");
        for kind in swarm::KINDS {
            let gentle = if kind.gentle { "*" } else { "" };
            println!("    {}{gentle}: {}", kind.name, kind.about);
        }
        println!("knobs:");
        for knob in scenario::knobs::KNOBS {
            println!("    {}: {}", knob.name, knob.about);
        }
    } else {
        for name in files::scenario_names().map_err(|error| format!("the scenario folder: {error}"))? {
            let (scenario, _) = load(&name)?;
            let suites: Vec<&str> = scenario.suites.iter().copied().chain([scenario::EVERYTHING]).collect();
            println!("{name} ({})\n    {}", suites.join(", "), scenario.about);
        }
    }
    Ok(())
}
