//! What is decided about a direct convolution before code is built.

use super::Request;
use crate::templates::tiling::{self, Row};
use ir::Layout;
use ir::ops::conv2d::Conv2d;
use ir::target::Tile;

pub struct Plan {
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

impl Plan {
    pub fn new(r: &Request) -> Option<Plan> {
        let conv = Conv2d::of(r.ctx.attrs);
        let (&[_, ic, h, w], &[oc, _, kh, kw]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..]) else {
            return None;
        };
        let &[_, _, p, q] = &r.ctx.results[0].dims[..] else { return None };
        let block = r.block();
        if conv.groups != 1 || oc % block != 0 || (ic % block != 0 && ic >= block) {
            return None;
        }
        let ic_block = if ic % block == 0 { block } else { 1 };
        // Without fused multiply-adds products need registers too, and the stem's long rows of taps need all there are.
        let narrow = r.target.tiles.iter().copied().find(|t| t.blocks == 1 && ic_block == 1 && !r.target.has_fma);
        let tile = narrow.or_else(|| tiling::pick_tile(r.target, oc / block))?;
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

        let panels = oc / block / i64::from(tile.blocks);
        let filter_bytes = oc * ic * kh * kw * 4;
        let row_bytes = if flat { columns * ic * 4 } else { conv.stride[0].cast_signed() * w * ic * 4 };
        let [l1, l2] = [r.target.l1_bytes, r.target.l2_bytes].map(u64::cast_signed);
        // If the whole filter stays in L2, a task takes few rows and all panels, so the rows are read once; otherwise
        // as many rows as fit beside a panel, so that the filter is streamed as seldom as possible.
        let is_resident = filter_bytes <= l2 / 2;
        let row_block = if is_resident { 1 } else { (l2 / 2 / row_bytes).clamp(1, rows) };
        // Blocks of equal height.
        let row_block = (rows + (rows + row_block - 1) / row_block - 1) / ((rows + row_block - 1) / row_block);
        let row_blocks = (rows + row_block - 1) / row_block;
        let groups_wanted = (ENOUGH_TASKS + row_blocks - 1) / row_blocks;
        let panel_group = (panels / groups_wanted).max(1);

        let channel_blocks = ic / ic_block;
        let panel_width = i64::from(tile.blocks) * block;
        let block_bytes = kh * kw * ic_block * panel_width * 4;
        let sums_bytes = row_block * columns * panel_width * 4;
        // Tiles of one block are for few output channels, and have no address register left for this.
        let by_blocks = tile.blocks > 1 && block_bytes * channel_blocks > l2 / 4 && sums_bytes <= l1 / 2;
        let k_block = match by_blocks {
            true => (l1 / 2 / block_bytes).max(1),
            false => channel_blocks,
        };
        // More tiles than that use a line of weights so often that waiting for it once does not count.
        let tiles = row_block * row.runs(i64::from(tile.pixels)).iter().map(|r| r.count).sum::<i64>();
        let lines = kw * ic_block * panel_width / 16;
        let fetches_ahead = !is_resident && ic_block != 1 && tiles <= 2 * lines;
        Some(Plan {
            conv,
            tile,
            ic_block,
            channel_blocks,
            rows,
            row,
            flat,
            row_block,
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
