//! `rescc tune`: measures how each convolution of a model is best computed on this machine.
//!
//! | module | is |
//! |---|---|
//! | `search` | candidates, measured where they will run: in the whole model |
//! | `file` | the plan file |

mod file;
mod search;

pub use file::{Entry, File, load};
pub use search::{Outcome, Search};

use passes::pass::Log;
use passes::plan::Plan;

/// What is said of a plan that had nothing to say about a model.
pub fn unused(plan: Option<&Plan>, log: &Log) -> Option<&'static str> {
    let has_choices = plan.is_some_and(|p| !p.0.is_empty());
    let is_idle = log.passes.iter().any(|p| p.pass == "apply-plan" && p.patches == 0);
    (has_choices && is_idle).then_some(
        "note: the plan changes no convolution of this model: a plan is for the sizes and the batch that were tuned",
    )
}
