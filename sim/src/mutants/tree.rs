//! The build that carries the bugs: a copy of the sources with all patches applied, and its program.
//!
//! It lies in the simulator's target folder, whose compiled dependencies it shares: a copy at another path has packages
//! of its own, and only those are compiled. Files that did not change are left alone, so the next build is a small one.
//!
//! Must not know: what is done with the program.

use std::path::{Path, PathBuf};

use crate::{files, process};

/// Where everything is.
struct Place {
    root: PathBuf,
    target: PathBuf,
    home: PathBuf,
}

impl Place {
    fn new() -> Result<Place, String> {
        let root = files::repository()?;
        let target = files::absolute(&root.join("target/sim"))?;
        // Working copies may share a target folder.
        let mine = root.display().to_string().replace(['/', '.'], "-");
        let home = target.join(format!("mutants/{}", mine.trim_matches('-')));
        Ok(Place { root, target, home })
    }

    fn tree(&self) -> PathBuf {
        self.home.join("tree")
    }

    fn program(&self) -> PathBuf {
        self.home.join("sim")
    }
}

/// What git would commit, patches aside: they are not compiled.
fn sources(root: &Path) -> Result<Vec<String>, String> {
    let list = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let list = process::output(root, &[], &list)?;
    let names = list
        .split('\0')
        .filter(|name| !name.is_empty() && !name.starts_with("sim/mutants/"));
    Ok(names.map(str::to_owned).collect())
}

/// No repository lies around the copy: git would take the paths of a patch for those of that one.
fn apply(folder: &Path, only_check: bool) -> Result<(), String> {
    let patches = files::patches()?;
    let patches: Result<Vec<String>, String> = patches
        .into_iter()
        .map(|(_, path)| Ok(files::absolute(&path)?.display().to_string()))
        .collect();
    let patches = patches?;
    let mut command = vec!["git", "apply", "--whitespace=nowarn"];
    if only_check {
        command.push("--check");
    }
    command.extend(patches.iter().map(String::as_str));
    let ceiling = folder.parent().unwrap_or(folder).display().to_string();
    process::output(folder, &[("GIT_CEILING_DIRECTORIES", &ceiling)], &command).map(drop)
}

/// Whether all patches apply to the sources as they are, together.
#[cfg(test)]
pub fn check() -> Result<(), String> {
    apply(&files::repository()?, true)
}

/// Makes the program; gives where it is.
pub fn build() -> Result<PathBuf, String> {
    let place = Place::new()?;
    let fresh = place.home.join("fresh");
    files::remove_folder(&fresh)?;
    let names = sources(&place.root)?;
    for name in &names {
        files::copy_if_there(&place.root.join(name), &fresh.join(name))?;
    }
    apply(&fresh, false)?;
    for name in &names {
        files::copy_if_other(&fresh.join(name), &place.tree().join(name))?;
    }
    files::remove_all_but(&place.tree(), &names)?;
    files::remove_folder(&fresh)?;
    eprintln!("building the server with its bugs; only this repository's own packages are compiled");
    let target = place.target.display().to_string();
    let words = [
        "cargo",
        "build",
        "--quiet",
        "--config",
        "target.'cfg(all())'.rustflags=['--cfg=madsim']",
        "--target-dir",
        &target,
        "--profile",
        "sim",
        "-p",
        "sim",
        "--message-format=json-render-diagnostics",
    ];
    let said = process::output(&place.tree(), &[("UNDERSTUDY_MUTANTS", "1")], &words)?;
    let made = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    let made = made.ok_or("cargo named no program")?;
    // The next build of the simulator itself takes its place.
    files::replace(&made, &place.program())?;
    built()
}

/// The program of the last time.
pub fn built() -> Result<PathBuf, String> {
    let program = Place::new()?.program();
    if files::exists(&program) {
        Ok(program)
    } else {
        Err(format!("{}: it has not been built yet", program.display()))
    }
}
