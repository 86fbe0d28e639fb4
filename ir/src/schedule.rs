//! Choices about a convolution that are otherwise left to estimates: an attribute that says how, not what.

use crate::op::{Attr, AttrDef, AttrKind, Attrs};
use crate::types::Dim;

/// Zero everywhere: by the estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Outputs of a Winograd tile along an axis: 4 or 2; 1 is direct convolution.
    pub winograd: u64,
    /// Channel blocks of a register tile.
    pub panel: u64,
    /// Output rows of a task.
    pub rows: u64,
    /// Panels of a task.
    pub panels: u64,
    /// Blocks of input channels that are summed before the next tile.
    pub channels: u64,
}

/// `schedule=[winograd,panel,rows,panels,channels]`
pub const SCHEDULE: AttrDef = AttrDef {
    name: "schedule",
    kind: AttrKind::Dims,
    default: Some("[]"),
    doc: "how it is computed: Winograd tile, panel, rows, panels, channels; 0 or nothing: by the estimates",
};

impl Schedule {
    /// What the attribute of a node says; `None` if that is no schedule.
    pub fn parse(attrs: &Attrs) -> Option<Schedule> {
        let number = |d: &Dim| if let Dim::Size(n) = d { Some(*n) } else { None };
        let numbers: Option<Vec<u64>> = attrs.dims(SCHEDULE.name).iter().map(number).collect();
        let schedule = match numbers?[..] {
            [] => Schedule::default(),
            [winograd, panel, rows, panels, channels] => Schedule { winograd, panel, rows, panels, channels },
            _ => return None,
        };
        [0, 1, 2, 4].contains(&schedule.winograd).then_some(schedule)
    }

    /// As [`parse`](Self::parse) for a node that has been verified.
    pub fn of(attrs: &Attrs) -> Schedule {
        Schedule::parse(attrs).expect("invariant: the shape rule has checked the schedule")
    }

    pub fn attr(self) -> Attr {
        if self == Schedule::default() {
            return Attr::Dims(Vec::new());
        }
        let numbers = [self.winograd, self.panel, self.rows, self.panels, self.channels];
        Attr::Dims(numbers.map(Dim::Size).to_vec())
    }
}
