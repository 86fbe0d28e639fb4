//! Curves over iterations, in the manner of the paper's figures: training error thin, test error bold, a colour for
//! each run.

use super::{Area, Drawn, draw};
use ir::Diagnostics;
use plotters::prelude::*;

const PANEL: (u32, u32) = (560, 400);
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 78, 161),
    RGBColor(200, 40, 40),
    RGBColor(230, 140, 0),
    RGBColor(0, 140, 90),
    RGBColor(130, 60, 160),
    RGBColor(0, 150, 190),
    RGBColor(140, 90, 50),
    RGBColor(110, 110, 110),
];
/// The first part of a run, whose values are not what a figure is about.
const BEGINNING: f64 = 0.1;

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// What the legend calls it; empty for a line that belongs to the one before.
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub is_bold: bool,
    /// Number of the colour.
    pub colour: usize,
}

/// Lines over one pair of axes.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    pub curves: Vec<Curve>,
    /// Whether values of the first tenth may lie above the panel, as errors of the first steps do in the paper.
    pub hides_beginning: bool,
}

/// Panels side by side as SVG.
///
/// Errors: those of [`draw`].
pub fn svg(panels: &[Panel]) -> Result<String, Diagnostics> {
    let (width, height) = (PANEL.0 * panels.len().max(1) as u32, PANEL.1);
    draw((width, height), |area| {
        let parts = area.split_evenly((1, panels.len().max(1)));
        parts.iter().zip(panels).try_for_each(|(part, p)| panel(part, p))
    })
}

fn panel(area: &Area, p: &Panel) -> Drawn {
    let points = || p.curves.iter().flat_map(|c| &c.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let left = points().map(|(x, _)| *x).fold(right, f64::min).min(right - 1.0).max(0.0);
    let counts = |x: f64| !p.hides_beginning || x >= BEGINNING * right;
    let top = points().filter(|(x, _)| counts(*x)).map(|(_, y)| *y).fold(0.0, f64::max);
    let top = round_up(top);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(&p.title, ("sans-serif", 16))
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(left..right.max(left + 1.0), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc(p.x)
        .y_desc(p.y)
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .x_label_formatter(&|x| if right >= 1e4 { format!("{}k", number(x / 1e3)) } else { number(*x) })
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    for c in &p.curves {
        let style = COLOURS[c.colour % COLOURS.len()].stroke_width(if c.is_bold { 3 } else { 1 });
        let line = c.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).map(|&(x, y)| (x, y.min(top)));
        let drawn = chart.draw_series(LineSeries::new(line, style))?;
        if !c.name.is_empty() {
            drawn.label(&c.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
    }
    if p.curves.iter().any(|c| !c.name.is_empty()) {
        let mut labels = chart.configure_series_labels();
        labels
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    Ok(())
}

/// The next of 1, 2, 5, 10, 20, … above `v`, or a step between.
fn round_up(v: f64) -> f64 {
    if v <= 0.0 {
        return 1.0;
    }
    let scale = 10f64.powf(v.log10().floor());
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|m| m * scale).into_iter().find(|&t| t >= v).unwrap_or(v)
}

fn number(v: impl std::borrow::Borrow<f64>) -> String {
    let text = format!("{:.3}", v.borrow());
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_names_and_axes_are_there() {
        let curve = |name: &str, colour, is_bold| Curve {
            name: name.into(),
            points: (0..100).map(|i| (f64::from(i * 500), 90.0 / f64::from(1 + i))).collect(),
            is_bold,
            colour,
        };
        let panel = Panel {
            title: "t".into(),
            x: "iterations",
            y: "error (%)",
            curves: vec![curve("plain-20", 0, false), curve("", 0, true)],
            hides_beginning: true,
        };
        let svg = svg(&[panel.clone(), panel]).unwrap();
        for part in ["plain-20", "iterations", "error (%)", "20k", "stroke-width=\"3\"", "</svg>"] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        let nan = Curve { points: vec![(f64::NAN, 1.0), (0.0, f64::INFINITY)], ..Curve::default() };
        for curves in [vec![], vec![Curve::default()], vec![nan]] {
            assert!(svg(&[Panel { curves, ..Panel::default() }]).unwrap().ends_with("</svg>\n"));
        }
        assert!(svg(&[]).is_ok());
    }

    #[test]
    fn tops_are_round() {
        for (v, top) in [(0.0, 1.0), (0.07, 0.08), (1.0, 1.0), (9.3, 10.0), (21.0, 25.0), (87.0, 100.0)] {
            assert!((round_up(v) - top).abs() < 1e-12, "{v}");
        }
    }
}
