//! What came out of an evaluation: how often each class was answered with which.

use std::collections::BTreeMap;

/// Ranks that count as right in a top-5 error.
const FIVE: usize = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pictures.
    pub n: u64,
    /// Pictures whose class was among the five best answers.
    pub top5: u64,
    /// Pictures of a class (first) that were given another or the same (second).
    pub confusion: BTreeMap<(u32, u32), u64>,
    /// Pictures of each class, and those among the five best.
    pub classes: BTreeMap<u32, [u64; 2]>,
}

impl Tally {
    /// Counts a picture of class `label`. Scores that are no numbers are no answer. Of equal scores the first class wins.
    pub fn add(&mut self, label: u32, scores: &[f64]) {
        self.n += 1;
        let of_class = self.classes.entry(label).or_default();
        of_class[0] += 1;
        if scores.iter().any(|s| s.is_nan()) {
            return;
        }
        let best = (1..scores.len()).fold(0, |best, c| if scores[c] > scores[best] { c } else { best });
        *self.confusion.entry((label, best as u32)).or_default() += 1;
        let class = label as usize;
        let before = |(c, &s): (usize, &f64)| s > scores[class] || s == scores[class] && c < class;
        if scores.iter().enumerate().filter(|&x| before(x)).count() < FIVE {
            of_class[1] += 1;
            self.top5 += 1;
        }
    }

    /// Pictures whose class was the first answer.
    pub fn top1(&self) -> u64 {
        self.confusion.iter().filter(|((label, answer), _)| label == answer).map(|(_, n)| n).sum()
    }

    pub fn count(&self, label: u32, answer: u32) -> u64 {
        self.confusion.get(&(label, answer)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class() {
        let mut t = Tally::default();
        t.add(0, &[0.5, 0.5, 0.0]);
        t.add(1, &[0.5, 0.5, 0.0]);
        t.add(2, &[0.1, 0.2, 0.7]);
        t.add(2, &[f64::NAN, 0.0, 1.0]);
        assert_eq!((t.n, t.top1(), t.top5), (4, 2, 3));
        assert_eq!((t.count(0, 0), t.count(1, 0), t.count(2, 2), t.count(1, 1)), (1, 1, 1, 0));
        assert_eq!(t.classes[&2], [2, 1]);
    }

    #[test]
    fn the_sixth_is_not_among_five() {
        let mut t = Tally::default();
        let scores: Vec<f64> = (0..7).map(|c| -f64::from(c)).collect();
        t.add(4, &scores);
        t.add(5, &scores);
        assert_eq!((t.top1(), t.top5), (0, 1));
    }
}
