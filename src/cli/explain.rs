//! `rescc explain`: the paragraph behind a diagnostic code.

use super::{Done, Env, Failure};
use ir::Diagnostic;
use ir::diag::{CODES, Class};
use serde_json::json;

/// Explain a diagnostic code
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc explain E0304")]
pub struct Args {
    /// Code, e.g. E0304
    code: String,
}

pub fn run(args: &Args, _env: &Env) -> Result<Done, Failure> {
    let code = args.code.to_uppercase();
    let Some((code, text)) = CODES.iter().find(|(c, _)| *c == code) else {
        let d = Diagnostic::error("E0802", format!("there is no diagnostic '{}'", args.code)).class(Class::Usage);
        return Err(match ir::text::nearest(&code, CODES.iter().map(|(c, _)| *c)) {
            Some(near) => d.help(format!("did you mean {near}?")),
            None => d.help("codes look like E0304 and stand in brackets after `error`"),
        }
        .into());
    };
    Ok(Done::new(format!("{code}: {text}\n"), json!({ "code": code, "text": text })))
}
