//! How far numbers are from those that are wanted. No NaN gets lost on the way.

/// What numbers and wanted ones have between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest [`distance`].
    pub largest: f64,
    /// The largest magnitude of the wanted numbers that are finite.
    pub scale: f64,
    /// ‖got − want‖₂ / ‖want‖₂, where the wanted numbers that are not finite have no length; 0 if nothing differs.
    pub relative_l2: f64,
}

impl Difference {
    pub fn of(got: &[f64], want: &[f64]) -> Difference {
        assert_eq!(got.len(), want.len(), "invariant: there are as many numbers as are wanted");
        let (mut largest, mut scale, mut error2, mut norm2) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for (&got, &want) in got.iter().zip(want) {
            let off = distance(got, want);
            largest = largest.max(off);
            error2 += off * off;
            if want.is_finite() {
                scale = scale.max(want.abs());
                norm2 += want * want;
            }
        }
        // Squares may vanish or overflow.
        let relative_l2 = match (error2 / norm2).sqrt() {
            _ if largest == 0.0 => 0.0,
            ratio if ratio.is_nan() => f64::INFINITY,
            ratio => ratio,
        };
        Difference { largest, scale, relative_l2 }
    }
}

/// |got − want|, never NaN: 0 between two NaN and between equal infinities, infinite between NaN and a number.
pub fn distance(got: f64, want: f64) -> f64 {
    let off = (got - want).abs();
    if got == want || (got.is_nan() && want.is_nan()) {
        0.0
    } else if off.is_nan() {
        f64::INFINITY
    } else {
        off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INFINITY: f64 = f64::INFINITY;

    #[test]
    fn numbers() {
        let d = Difference::of(&[3.0, -4.5, 0.0], &[3.0, -4.0, 0.0]);
        assert_eq!(d, Difference { largest: 0.5, scale: 4.0, relative_l2: 0.1 });
        assert_eq!(Difference::of(&[], &[]), Difference { largest: 0.0, scale: 0.0, relative_l2: 0.0 });
        assert_eq!(Difference::of(&[0.0], &[0.0]).relative_l2, 0.0);
        assert_eq!(Difference::of(&[1.0], &[0.0]).relative_l2, INFINITY);
        assert_eq!(Difference::of(&[1e-300], &[0.0]).relative_l2, INFINITY);
    }

    #[test]
    fn what_is_not_finite_has_to_be_the_same() {
        for (got, want) in [(NAN, 0.0), (0.0, NAN), (INFINITY, 1.0), (1.0, -INFINITY), (INFINITY, -INFINITY)] {
            // Wherever it stands.
            for (got, want) in [([got, 2.0, 2.0], [want, 2.0, 2.0]), ([2.0, 2.0, got], [2.0, 2.0, want])] {
                let d = Difference::of(&got, &want);
                assert_eq!((d.largest, d.relative_l2), (INFINITY, INFINITY), "{got:?}, not {want:?}");
                assert_eq!(d.scale, 2.0);
            }
        }
        assert_eq!(distance(NAN, INFINITY), INFINITY);
        let same = [NAN, INFINITY, -INFINITY, 2.0];
        assert_eq!(Difference::of(&same, &same), Difference { largest: 0.0, scale: 2.0, relative_l2: 0.0 });
    }
}
