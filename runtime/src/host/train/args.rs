//! The command line of a trainer.

use super::preset::{Choice, Preset};
use super::settings::Length;
use crate::host::Error;
use crate::host::args::{Path, Rest, lossy, number, unknown, usage};
use alloc::format;
use alloc::string::String;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args<'a> {
    pub help: bool,
    /// The folder with the CIFAR-10 files.
    pub data: Path<'a>,
    /// The folder of the run.
    pub out: Path<'a>,
    pub choice: Choice,
    pub threads: Option<u32>,
    /// Go on from the newest checkpoint in `out`.
    pub resume: bool,
}

/// The text of `--help`.
pub fn help(program: &str, preset: &Preset) -> String {
    let s = &preset.settings;
    format!(
        "{}, and how it is trained: compiled by rescc\n\
         \n\
         {program} CIFAR10 --out RUN    trains on data_batch_1.bin to data_batch_5.bin of the folder CIFAR10 by the\n\
         \u{20}                            recipe {} in batches of {}; test_batch.bin is for evaluation\n\
         \n\
         --out RUN      folder for checkpoints, which holds no run yet but for --resume; `rescc train` reads them too\n\
         --epochs N     length of the run, instead of the recipe's\n\
         --iters N      the same in steps\n\
         --lr X         peak of the learning rate ({})\n\
         --seed N       seed of the order of pictures and of what is done to them ({})\n\
         --threads N    threads (the CPUs that this process may use)\n\
         --resume       goes on from the newest checkpoint in RUN, under the settings that the run was begun with\n\
         \n\
         The first SIGINT or SIGTERM leaves a checkpoint and ends the run; a second one ends it at once.\n\
         Exit codes: 0 done, 1 the loss is not finite, 2 usage, 3 an input cannot be read, 4 unsupported, 5 a checkpoint\n\
         cannot be written, 6 a limit, 130 and 143 a signal.\n",
        preset.name, preset.recipe, s.batch, s.lr, s.seed
    )
}

const NAMES: [&str; 8] = ["--help", "--out", "--epochs", "--iters", "--lr", "--seed", "--threads", "--resume"];
/// Longest run, as in `rescc train`.
const MOST_EPOCHS: u64 = 1 << 20;
const MOST_ITERATIONS: u64 = 1 << 40;

/// Parses what follows the program's name.
pub fn parse<'a>(args: &[&'a [u8]]) -> Result<Args<'a>, Error> {
    let mut parsed = Args::default();
    let mut rest = Rest::new(args);
    while let Some(arg) = rest.next() {
        if !arg.starts_with(b"-") {
            if !parsed.data.is_empty() {
                return Err(usage(format!("one folder is needed, and '{}' is another", lossy(arg))));
            }
            parsed.data = arg;
            continue;
        }
        let (name, inline) = match arg.iter().position(|&b| b == b'=') {
            Some(i) => (&arg[..i], Some(&arg[i + 1..])),
            None => (arg, None),
        };
        let length = &mut parsed.choice.length;
        match name {
            b"--help" | b"-h" if inline.is_none() => parsed.help = true,
            b"--resume" if inline.is_none() => parsed.resume = true,
            b"--help" | b"--resume" => return Err(usage(format!("{} takes no value", lossy(name)))),
            b"--epochs" | b"--iters" if length.is_some() => {
                return Err(usage("a run has one length: --epochs or --iters, once"));
            }
            b"--epochs" => {
                let n = number(name, rest.value(name, inline)?, |n| (1..=MOST_EPOCHS).contains(&n))?;
                *length = Some(Length::Epochs(n));
            }
            b"--iters" => {
                let n = number(name, rest.value(name, inline)?, |n| (1..=MOST_ITERATIONS).contains(&n))?;
                *length = Some(Length::Iterations(n));
            }
            b"--lr" => {
                let lr = number(name, rest.value(name, inline)?, |v: f64| v.is_finite() && v > 0.0)?;
                parsed.choice.lr = Some(lr);
            }
            b"--seed" => parsed.choice.seed = Some(number(name, rest.value(name, inline)?, |_| true)?),
            b"--threads" => parsed.threads = Some(number(name, rest.value(name, inline)?, |n| (1..=64).contains(&n))?),
            b"--out" => parsed.out = rest.value(name, inline)?,
            _ => return Err(unknown(name, &NAMES)),
        }
    }
    if parsed.help {
        return Ok(parsed);
    }
    if parsed.data.is_empty() {
        return Err(usage("no folder with CIFAR-10 is given"));
    }
    if parsed.out.is_empty() {
        return Err(usage("no folder for the run is given").help("name it by --out"));
    }
    if parsed.resume && parsed.choice != Choice::default() {
        let e = usage("a run that goes on has the settings that it was begun with");
        return Err(e.help("leave out --epochs, --iters, --lr and --seed, or leave out --resume"));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        parse(&words).map(|a| format!("{:?}", a.choice)).map_err(|e| e.what)
    }

    #[test]
    fn lines() {
        let words: [&[u8]; 7] = [b"c", b"--out", b"r", b"--iters=20", b"--lr", b"0.05", b"--seed=3"];
        let choice = Choice { length: Some(Length::Iterations(20)), lr: Some(0.05), seed: Some(3) };
        assert_eq!(parse(&words), Ok(Args { data: b"c", out: b"r", choice, ..Args::default() }));
        assert!(parse(&[b"--help"]).is_ok_and(|a| a.help));
        for (line, what) in [
            ("", "no folder with CIFAR-10"),
            ("c", "no folder for the run"),
            ("c d --out r", "'d' is another"),
            ("c --out", "--out needs a value"),
            ("c --out r --iters 1 --epochs 1", "one length"),
            ("c --out r --iters 0", "--iters cannot be '0'"),
            ("c --out r --lr nan", "--lr cannot be 'nan'"),
            ("c --out r --resume --lr 1", "settings that it was begun with"),
            ("c --out r --resume=x", "takes no value"),
            ("c --out r --epoch 3", "unknown option '--epoch'"),
        ] {
            let e = parsed(line).expect_err(line);
            assert!(e.contains(what), "{line}: {e}");
        }
    }
}
