//! Drawings as SVG text, the same bytes on every machine.
//!
//! | module | is |
//! |---|---|
//! | [`curves`] | lines over axes, in panels |
//! | [`graph`] | a graph; also as Graphviz text |
//! | [`matrix`] | a confusion matrix |
//! | [`runs`] | logs of training, and values of layers, in the manner of the paper's figures |

pub mod curves;
pub mod graph;
pub mod matrix;
pub mod runs;

use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use plotters::coord::Shift;
use plotters::prelude::*;

/// A part of a drawing.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing may say; text has no reason to fail.
pub type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A drawing of `size` (width, height) pixels on white.
///
/// Errors: E0800; text is written to memory, which does not fail.
pub fn draw(size: (u32, u32), f: impl FnOnce(&Area) -> Drawn) -> Result<String, Diagnostics> {
    let mut text = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(Into::into).and_then(|()| f(&area)).and_then(|()| Ok(area.present()?))
    };
    drawn.map_err(|e| Diagnostic::error("E0800", format!("a figure cannot be drawn: {e}")).class(Class::Internal))?;
    Ok(text)
}
