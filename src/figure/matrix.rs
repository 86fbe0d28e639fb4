//! A confusion matrix: a row for each class, a column for each answer, darker where more pictures of the row are.

use super::draw;
use crate::eval::tally::Tally;
use ir::Diagnostics;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Classes up to which each has its name and each cell its number.
const MOST_NAMED: usize = 40;
/// Pixels of a cell with a number in it, and of the whole matrix otherwise.
const CELL: i32 = 40;
const SIDE: i32 = 1000;
const MARGIN: i32 = 24;
const FONT: i32 = 14;
/// Characters of a name that are shown.
const NAME_CHARS: usize = 18;

/// The matrix of `names.len()` classes as SVG.
///
/// Errors: those of [`draw`].
pub fn svg(tally: &Tally, names: &[String]) -> Result<String, Diagnostics> {
    let n = names.len();
    let is_named = n <= MOST_NAMED;
    let cell = if is_named { f64::from(CELL) } else { f64::from(SIDE) / n as f64 };
    let side = (cell * n as f64).ceil() as i32;
    let shown: Vec<String> = names.iter().map(|name| name.chars().take(NAME_CHARS).collect()).collect();
    let longest = shown.iter().map(|s| s.chars().count()).max().unwrap_or(0);
    let left = MARGIN + if is_named { FONT * longest as i32 * 6 / 10 + FONT } else { FONT };
    let bottom = left;
    let (width, height) = (left + side + MARGIN, MARGIN + side + bottom);
    draw((width as u32, height as u32), |area| {
        let place = |i: usize| (i as f64 * cell).round() as i32;
        let font = ("sans-serif", FONT).into_font();
        for (&(label, answer), &count) in &tally.confusion {
            let row = tally.classes[&label][0];
            let (x, y) = (left + place(answer as usize), MARGIN + place(label as usize));
            let (to_x, to_y) = (left + place(answer as usize + 1), MARGIN + place(label as usize + 1));
            let share = count as f64 / row as f64;
            // A picture or two would not be seen by their share alone.
            let colour = shade(0.08 + 0.92 * share, label == answer);
            area.draw(&Rectangle::new([(x, y), (to_x.max(x + 1), to_y.max(y + 1))], colour.filled()))?;
            if is_named {
                let ink = if share > 0.5 { &WHITE } else { &BLACK };
                let style = font.color(ink).pos(Pos::new(HPos::Center, VPos::Center));
                area.draw(&Text::new(count.to_string(), ((x + to_x) / 2, (y + to_y) / 2), style))?;
            }
        }
        let frame = [(left, MARGIN), (left + side, MARGIN + side)];
        area.draw(&Rectangle::new(frame, BLACK.stroke_width(1)))?;
        let black = |h| font.color(&BLACK).pos(Pos::new(h, VPos::Center));
        if is_named {
            for (i, name) in shown.iter().enumerate() {
                let middle = place(i) + CELL / 2;
                area.draw(&Text::new(name.clone(), (left - FONT / 2, MARGIN + middle), black(HPos::Right)))?;
                let turned = font.transform(FontTransform::Rotate270).color(&BLACK);
                let turned = turned.pos(Pos::new(HPos::Right, VPos::Center));
                area.draw(&Text::new(name.clone(), (left + middle, MARGIN + side + FONT / 2), turned))?;
            }
        }
        let below = (left + side / 2, height - FONT);
        area.draw(&Text::new("answer", below, black(HPos::Center)))?;
        let turned = font.transform(FontTransform::Rotate270).color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new("class", (FONT, MARGIN + side / 2), turned))?;
        Ok(())
    })
}

/// From white to blue for what is right, to red for what is wrong.
fn shade(share: f64, is_right: bool) -> RGBColor {
    let [r, g, b] = if is_right { [31.0, 78.0, 161.0] } else { [190.0, 40.0, 30.0] };
    let mix = |c: f64| (255.0 + (c - 255.0) * share) as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_and_every_name_is_there() {
        let mut t = Tally::default();
        (0..7).for_each(|_| t.add(0, &[1.0, 0.0]));
        (0..3).for_each(|_| t.add(1, &[1.0, 0.0]));
        let svg = svg(&t, &["a<b".to_string(), "dog".to_string()]).unwrap();
        for part in ["a&lt;b", "dog", ">\n7\n", ">\n3\n", "answer", "</svg>"] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
    }

    #[test]
    fn many_classes_are_drawn_without_names() {
        let mut t = Tally::default();
        let names: Vec<String> = (0..1000).map(|i| format!("class{i}")).collect();
        (0..1000).for_each(|i| t.add(i, &(0..1000).map(|c| f64::from(u8::from(c == i))).collect::<Vec<_>>()));
        let svg = svg(&t, &names).unwrap();
        assert!(!svg.contains("class7") && svg.matches("<rect").count() >= 1000);
    }
}
