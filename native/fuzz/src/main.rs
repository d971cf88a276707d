//! Runs a fuzz target on inputs drawn from a seed, or on the bytes of a file.
//!
//! `piecework-fuzz TARGET COUNT [SEED]`, `piecework-fuzz TARGET FILE`, or `piecework-fuzz TARGET FOLDER`, which puts
//! the inputs that it starts from into the folder. When a target panics or does not come
//! back, the input is left in a file and named.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use piecework_fuzz::driver::{Inputs, drive};
use piecework_fuzz::{TARGETS, Target, find};

/// No input takes a second; one that takes this long is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

static RUN: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| find(name));
    let (Some(target), Some(what)) = (target, arguments.get(1)) else {
        let names = TARGETS.map(|target| target.name).join(", ");
        eprintln!("piecework-fuzz TARGET COUNT [SEED] | FILE | FOLDER, with TARGET one of {names}");
        return ExitCode::from(2);
    };
    match what.parse() {
        Ok(count) => {
            let seed = arguments.get(2).map(|text| text.parse());
            let Ok(seed) = seed.unwrap_or_else(|| Ok(fresh_seed())) else {
                eprintln!("piecework-fuzz: a seed is a whole number");
                return ExitCode::from(2);
            };
            draw(target, seed, count)
        }
        Err(_) => match with_path(target, Path::new(what)) {
            Ok(told) => {
                println!("{}: {told}", target.name);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("piecework-fuzz: {what}: {error}");
                ExitCode::from(2)
            }
        },
    }
}

fn with_path(target: &Target, path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        return Ok(format!("{:?}", (target.run)(&std::fs::read(path)?)));
    }
    let seeds = (target.seeds)();
    for (nth, seed) in seeds.iter().enumerate() {
        std::fs::write(path.join(format!("seed-{nth}")), seed)?;
    }
    Ok(format!("{} inputs", seeds.len()))
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos() as u64)
}

fn draw(target: &'static Target, seed: u64, count: u64) -> ExitCode {
    std::thread::spawn(move || watch(target, seed));
    let last = RefCell::new(Vec::new());
    let task = || {
        drive(target, seed, count, |run, input| {
            RUN.store(run, Ordering::Relaxed);
            let mut last = last.borrow_mut();
            last.clear();
            last.extend_from_slice(input);
        })
    };
    let Ok(report) = catch_unwind(AssertUnwindSafe(task)) else {
        keep(target, seed, &last.borrow());
        return ExitCode::FAILURE;
    };
    let seconds = report.took.as_secs_f64();
    println!(
        "{}: seed {seed}, {} {} in {} runs, {} accepted, {:.0} {} a second, slowest seen {:.1} ms",
        target.name,
        report.seen.checked,
        target.counts,
        report.runs,
        report.seen.accepted,
        report.seen.checked as f64 / seconds,
        target.counts,
        report.slowest.as_secs_f64() * 1000.0,
    );
    ExitCode::SUCCESS
}

fn keep(target: &Target, seed: u64, input: &[u8]) {
    let path = format!(
        "crash-{}-{seed}-{}",
        target.name,
        RUN.load(Ordering::Relaxed)
    );
    let kept = std::fs::write(&path, input);
    eprintln!(
        "{}: seed {seed}; the input is in {path} {kept:?}",
        target.name
    );
}

/// Ends the process when one input takes too long; the seed draws that input again.
fn watch(target: &Target, seed: u64) {
    loop {
        let before = RUN.load(Ordering::Relaxed);
        std::thread::sleep(PATIENCE);
        if RUN.load(Ordering::Relaxed) == before {
            let mut inputs = Inputs::new(target, seed);
            for _ in 0..before {
                inputs.draw();
            }
            keep(target, seed, inputs.draw());
            eprintln!("it took longer than {PATIENCE:?}");
            std::process::abort();
        }
    }
}
