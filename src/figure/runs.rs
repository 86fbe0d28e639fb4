//! Logs of training as figures.

use super::curves::{Curve, Panel, svg};
use crate::train::log::Line;
use ir::Diagnostics;

/// A run and what the legend calls it.
pub struct Run {
    pub name: String,
    pub lines: Vec<Line>,
}

/// Training errors thin and test errors bold in one panel, as in the paper's figures 4 and 6; `apart`, in two, as in
/// figure 1.
///
/// Errors: those of [`draw`](super::draw).
pub fn errors(runs: &[Run], apart: bool) -> Result<String, Diagnostics> {
    svg(&match apart {
        true => vec![
            panel("", "training error (%)", curves(runs, false, true)),
            panel("", "test error (%)", curves(runs, true, true)),
        ],
        false => vec![both("thin: training, bold: test", runs)],
    })
}

/// A panel with both errors for each group of runs.
///
/// Errors: those of [`draw`](super::draw).
pub fn panels(groups: &[(&str, Vec<Run>)]) -> Result<String, Diagnostics> {
    svg(&groups.iter().map(|(title, runs)| both(title, runs)).collect::<Vec<_>>())
}

/// Training and test errors; the test errors have the names.
fn both(title: &str, runs: &[Run]) -> Panel {
    panel(title, "error (%)", [curves(runs, false, false), curves(runs, true, true)].concat())
}

fn panel(title: &str, y: &'static str, curves: Vec<Curve>) -> Panel {
    Panel { title: title.into(), x: "iterations", y, curves, hides_beginning: true }
}

fn curves(runs: &[Run], is_test: bool, is_named: bool) -> Vec<Curve> {
    let curve = |(colour, run): (usize, &Run)| {
        let value = |l: &Line| {
            let error = if is_test { l.test_error } else { l.window.map(|w| w.1) };
            Some((l.iteration as f64, 100.0 * error?))
        };
        let name = if is_named { run.name.clone() } else { String::new() };
        Curve { name, points: run.lines.iter().filter_map(value).collect(), is_bold: is_test, colour }
    };
    runs.iter().enumerate().map(curve).collect()
}

/// Values of layers by number (above) and by size (below in the paper, beside here), as in figure 7.
///
/// Errors: those of [`draw`](super::draw).
pub fn layers(networks: &[(String, Vec<f64>)], y: &'static str) -> Result<String, Diagnostics> {
    let curve = |(colour, (name, values)): (usize, &(String, Vec<f64>)), is_sorted: bool| {
        let mut values = values.clone();
        if is_sorted {
            values.sort_by(|a, b| b.total_cmp(a));
        }
        let points = values.into_iter().enumerate().map(|(i, v)| ((i + 1) as f64, v)).collect();
        Curve { name: name.clone(), points, is_bold: false, colour }
    };
    let panel = |x, is_sorted| Panel {
        title: String::new(),
        x,
        y,
        curves: networks.iter().enumerate().map(|n| curve(n, is_sorted)).collect(),
        hides_beginning: false,
    };
    svg(&[panel("layer", false), panel("layer, sorted by size", true)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_name_and_its_lines() {
        let line = |i: u64| Line {
            iteration: i,
            window: Some((1.0, 0.5 / i as f64)),
            test_error: i.is_multiple_of(2).then_some(0.6 / i as f64),
            ..Line::default()
        };
        let run = |name: &str| Run { name: name.into(), lines: (1..20).map(line).collect() };
        let runs = [run("plain-20"), run("plain-56")];
        let together = errors(&runs, false).unwrap();
        let apart = errors(&runs, true).unwrap();
        assert_eq!((together.matches("plain-56").count(), apart.matches("plain-56").count()), (1, 2));
        assert!(apart.contains("training error (%)") && apart.contains("test error (%)"));
        let seven = layers(&[("res-20".into(), vec![0.5, 0.25, 1.0])], "std").unwrap();
        assert_eq!(seven.matches("res-20").count(), 2);
    }
}
