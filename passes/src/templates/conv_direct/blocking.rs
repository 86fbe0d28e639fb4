//! What is decided about a direct convolution before code is built.

use super::Request;
use crate::templates::tiling::{self, Row, Run};
use ir::Layout;
use ir::ops::conv2d::Conv2d;
use ir::schedule::Schedule;
use ir::target::Tile;

pub struct Blocking {
    pub conv: Conv2d,
    pub tile: Tile,
    /// Input channels of one filter block: the layout's block, or 1 for a plain image.
    pub ic_block: i64,
    /// Blocks of input channels.
    pub channel_blocks: i64,
    /// Rows of outputs as the loops see them, and a row.
    pub rows: i64,
    pub row: Row,
    /// Rows and columns are one dimension (1×1 at stride 1).
    pub flat: bool,
    /// Output rows that one task covers.
    pub row_block: i64,
    /// How those are cut into register tiles.
    pub bands: Vec<Band>,
    /// Channel panels that one task covers.
    pub panel_group: i64,
    /// Blocks of input channels that are summed before the next tile: all of them, or so few that their weights
    /// stay in L1 while all tiles of the task use them.
    pub k_block: i64,
    /// The weights come from beyond L2, for few tiles each time.
    pub fetches_ahead: bool,
}

/// Tasks that are enough to share work evenly among a handful of workers.
const ENOUGH_TASKS: i64 = 16;

impl Blocking {
    pub fn new(r: &Request) -> Option<Blocking> {
        let conv = Conv2d::of(r.ctx.attrs);
        let (&[_, ic, h, w], &[oc, _, kh, kw]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..]) else {
            return None;
        };
        let &[_, _, p, q] = &r.ctx.results[0].dims[..] else { return None };
        let schedule = Schedule::of(r.ctx.attrs);
        let stated = |n: u64, most: i64| (n > 0).then(|| n.cast_signed().clamp(1, most));
        let block = r.block();
        if conv.groups != 1 || oc % block != 0 || (ic % block != 0 && ic >= block) || kw > tiling::MOST_TAPS {
            return None;
        }
        let ic_block = if ic % block == 0 { block } else { 1 };
        // Without fused multiply-adds products need registers too, and the stem's long rows of taps need all there are.
        let narrow = r.target.tiles.iter().copied().find(|t| t.blocks == 1 && ic_block == 1 && !r.target.has_fma);
        let tile = narrow.or_else(|| tiling::pick_tile(r.target, oc / block, schedule.panel))?;
        let flat = ic_block != 1 && kh * kw == 1 && conv.stride == [1, 1] && conv.pad == [0; 4];
        let (rows, columns) = if flat { tiling::flatten(h, w, i64::from(tile.pixels)) } else { (p, q) };
        let row = Row {
            outputs: columns,
            inputs: if flat { columns } else { w },
            taps: kw,
            stride: conv.stride[1].cast_signed(),
            pad: conv.pad[1].cast_signed(),
            dilation: conv.dilation[1].cast_signed(),
        };
        let column = Row {
            outputs: rows,
            inputs: h,
            taps: kh,
            stride: conv.stride[0].cast_signed(),
            pad: conv.pad[0].cast_signed(),
            dilation: conv.dilation[0].cast_signed(),
        };

        let panels = oc / block / i64::from(tile.blocks);
        let panel_width = i64::from(tile.blocks) * block;
        let (filter_bytes, panel_bytes) = (oc * ic * kh * kw * 4, panel_width * ic * kh * kw * 4);
        let row_bytes = if flat { columns * ic * 4 } else { conv.stride[0].cast_signed().min(h) * w * ic * 4 };
        let [l1, l2] = [r.target.l1_bytes, r.target.l2_bytes].map(u64::cast_signed);
        // Large weights are read once: by all rows of the image, for one block of input channels after the other.
        // Tiles of one block are for few output channels, and have no address register left for this.
        let is_large = panel_bytes > l2 / 4 || (filter_bytes > 8 * l2 && rows * row_bytes > l2 / 2);
        let by_blocks = tile.blocks > 1 && is_large && rows * columns * panel_width * 4 <= l1 / 2;
        let channel_blocks = ic / ic_block;
        let block_bytes = kh * kw * ic_block * panel_width * 4;
        // Long sums of a 1×1 filter go by blocks too, whose weights come from L1 for all tiles but the first.
        let is_long = flat && tile.blocks > 1 && panel_bytes > l1;
        let k_block = if by_blocks || is_long { (l1 / 2 / block_bytes).max(1) } else { channel_blocks };
        let k_block = stated(schedule.channels, channel_blocks).unwrap_or(k_block);
        // If the whole filter stays in L2, a task takes few rows and all panels, so the rows are read once; otherwise
        // as many rows as fit beside a panel, so that the filter is streamed as seldom as possible.
        let is_resident = filter_bytes <= l2 / 2;
        let row_block = stated(schedule.rows, rows).unwrap_or(match (is_resident, by_blocks) {
            (true, _) => 1,
            (_, true) => rows,
            _ => (l2 / 2 / row_bytes).clamp(1, rows),
        });
        // Blocks of equal height.
        let row_block = (rows + (rows + row_block - 1) / row_block - 1) / ((rows + row_block - 1) / row_block);
        let row_blocks = (rows + row_block - 1) / row_block;
        // Each group of panels reads all rows, from the other core's cache too: nearly enough rows are enough.
        let groups_wanted = (ENOUGH_TASKS / row_blocks).max(1);
        let panel_group = stated(schedule.panels, panels).unwrap_or((panels / groups_wanted).max(1));
        let bands = match row_block == rows && !flat {
            true => bands(tile, &row, &column),
            false => vec![Band { start: 0, height: 1, count: row_block, runs: row.runs(tile.pixels.into()) }],
        };
        // More tiles than that use a line of weights so often that waiting for it once does not count.
        let tiles = bands.iter().map(Band::tiles).sum::<i64>();
        let lines = kw * ic_block * panel_width / 16;
        let fetches_ahead = !is_resident && ic_block != 1 && tiles <= 2 * lines;
        Some(Blocking {
            conv,
            tile,
            ic_block,
            channel_blocks,
            rows,
            row,
            flat,
            row_block,
            bands,
            panel_group,
            k_block,
            fetches_ahead,
        })
    }

    pub fn filter_layout(&self, r: &Request) -> Layout {
        let ic = u32::try_from(self.ic_block).expect("invariant: a block is small");
        Layout::Filter { ic, oc: self.tile.blocks * r.target.block }
    }
}

/// Rows of register tiles: `count` times `height` rows of outputs from row `start`.
pub struct Band {
    pub start: i64,
    pub height: i64,
    pub count: i64,
    pub runs: Vec<Run>,
}

impl Band {
    /// Register tiles in the band.
    pub fn tiles(&self) -> i64 {
        self.count * self.runs.iter().map(|r| r.count).sum::<i64>()
    }

    /// Cycles of one step of the sums of all its tiles: two multiply-adds a cycle, but no less than the four cycles
    /// after which a sum can be added to again.
    fn cycles(&self, tile: Tile) -> i64 {
        let of = |r: &Run| r.count * (self.height * r.pixels * i64::from(tile.blocks)).max(8);
        self.count * self.runs.iter().map(of).sum::<i64>()
    }
}

/// Cuts an image into bands, of two rows where rows are so short that tiles of one row leave the multipliers waiting
/// (7 outputs are 4 + 3, but 14 are 6 + 4 + 4). Rows with taps in the padding stand alone.
fn bands(tile: Tile, row: &Row, column: &Row) -> Vec<Band> {
    let rows = column.outputs;
    let band = |start: i64, height: i64, count: i64| {
        let runs = row.runs(i64::from(tile.pixels) / height);
        Band { start, height, count, runs }
    };
    let is_whole = |r: i64| column.column(r, 0) >= 0 && column.column(r, column.taps - 1) < column.inputs;
    let first = (0..rows).find(|&r| is_whole(r)).unwrap_or(rows);
    let pairs = (first..rows).take_while(|&r| is_whole(r)).count() as i64 / 2;
    let end = first + 2 * pairs;
    let cut = [band(0, 1, first), band(first, 2, pairs), band(end, 1, rows - end)];
    let single = band(0, 1, rows);
    if tile.pixels < 2 || cut.iter().map(|b| b.cycles(tile)).sum::<i64>() >= single.cycles(tile) {
        return vec![single];
    }
    cut.into_iter().filter(|b| b.count > 0).collect()
}
