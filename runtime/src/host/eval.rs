//! Accuracy over a labelled set.

use super::cifar::{self, Cifar};
use super::engine::Engine;
use super::npy::{Array, Data};
use super::preprocess::Recipe;
use super::{Error, Kind, topk};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Labelled pictures that are as large as the input.
pub enum Set<'a> {
    Cifar(Cifar<'a>),
    /// u8[images, height, width, 3], RGB.
    Pixels {
        pixels: &'a [u8],
        labels: Vec<usize>,
    },
}

impl<'a> Set<'a> {
    /// A CIFAR-10 file for a network with 32×32 pixels.
    pub fn cifar(bytes: &'a [u8], recipe: &Recipe) -> Result<Set<'a>, Error> {
        if (recipe.width, recipe.height) != (cifar::SIDE, cifar::SIDE) {
            return Err(Error::new(
                Kind::Usage,
                format!("CIFAR-10 pictures are 32x32, the model takes {}x{}", recipe.width, recipe.height),
            ));
        }
        Ok(Set::Cifar(Cifar::parse(bytes)?))
    }

    /// An array of pixels and the text of a table of labels.
    pub fn pixels(array: &Array<'a>, labels: &str, recipe: &Recipe) -> Result<Set<'a>, Error> {
        let Data::U8(pixels) = array.data else {
            return Err(Error::new(Kind::Unsupported, "an array of pixels must be uint8 (N, H, W, 3)"));
        };
        if array.shape.len() != 4 || array.shape[1..] != [recipe.height, recipe.width, 3] {
            return Err(Error::new(
                Kind::Invalid,
                format!("the array is {:?}, the model needs (N, {}, {}, 3)", array.shape, recipe.height, recipe.width),
            ));
        }
        let labels = parse_labels(labels)?;
        if labels.len() != array.shape[0] {
            return Err(Error::new(Kind::Invalid, format!("{} labels for {} pictures", labels.len(), array.shape[0])));
        }
        Ok(Set::Pixels { pixels, labels })
    }

    pub fn len(&self) -> usize {
        match self {
            Set::Cifar(c) => c.len(),
            Set::Pixels { labels, .. } => labels.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn label(&self, image: usize) -> usize {
        match self {
            Set::Cifar(c) => c.label(image),
            Set::Pixels { labels, .. } => labels[image],
        }
    }

    fn fill(&self, image: usize, recipe: &Recipe, x: &mut [f32]) {
        match self {
            Set::Cifar(c) => recipe.normalise(x, |channel, pixel| c.value(image, channel, pixel)),
            Set::Pixels { pixels, .. } => {
                let of_image = &pixels[image * recipe.elements()..];
                recipe.normalise(x, |channel, pixel| of_image[3 * pixel + channel]);
            }
        }
    }
}

/// One class a line, or a table with tabs whose first line names a column `class`.
pub fn parse_labels(text: &str) -> Result<Vec<usize>, Error> {
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).peekable();
    let mut column = 0;
    if let Some((_, header)) = lines.peek()
        && header.trim().parse::<usize>().is_err()
    {
        column = header
            .split('\t')
            .position(|name| name.trim() == "class")
            .ok_or_else(|| Error::new(Kind::Invalid, "the first line names no column 'class'"))?;
        lines.next();
    }
    lines
        .map(|(i, line)| {
            let field = line.split('\t').nth(column).unwrap_or("").trim();
            field.parse().map_err(|_| Error::new(Kind::Invalid, format!("line {}: '{field}' is not a class", i + 1)))
        })
        .collect()
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub images: usize,
    pub top1: usize,
    pub top5: usize,
    /// Best class of each picture.
    pub predictions: Vec<u16>,
    /// f32[images, classes] if asked for.
    pub logits: Vec<f32>,
}

impl Outcome {
    pub fn percent(&self, hits: usize) -> f64 {
        100.0 * hits as f64 / self.images as f64
    }

    /// `Acc@1 91.730 Acc@5 99.660 (9173 of 10000)`
    pub fn line(&self) -> String {
        let (one, five) = (self.percent(self.top1), self.percent(self.top5));
        format!("Acc@1 {one:.3} Acc@5 {five:.3} ({} of {})", self.top1, self.images)
    }
}

/// Runs the whole set.
pub fn evaluate(engine: &mut Engine, set: &Set, recipe: &Recipe, keep_logits: bool) -> Result<Outcome, Error> {
    let classes = engine.classes();
    if set.is_empty() {
        return Err(Error::new(Kind::Invalid, "there are no pictures").help("give at least one"));
    }
    if let Some(i) = (0..set.len()).find(|&i| set.label(i) >= classes) {
        let what = format!("label {} of picture {i} is not below the model's {classes} classes", set.label(i));
        return Err(Error::new(Kind::Invalid, what));
    }
    let mut outcome = Outcome { images: set.len(), ..Outcome::default() };
    engine.run_all(
        set.len(),
        |i, x| {
            set.fill(i, recipe, x);
            Ok(())
        },
        |i, y| {
            let rank = topk::rank(y, set.label(i));
            outcome.top1 += usize::from(rank == 0);
            outcome.top5 += usize::from(rank < 5);
            outcome.predictions.push(topk::best(y) as u16);
            if keep_logits {
                outcome.logits.extend_from_slice(y);
            }
        },
    )?;
    Ok(outcome)
}
