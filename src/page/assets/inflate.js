// Inflates raw deflate data (RFC 1951) after the tables of its section 3.2; plain, as kernels are small.
const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// A canonical code as a table: what comes next in the input, lowest bit first, gives a symbol and its length.
function codes(lengths) {
  const count = new Uint16Array(17), next = new Uint16Array(17);
  for (const l of lengths) count[l]++;
  count[0] = 0;
  let longest = 1;
  for (let l = 1; l < 16; l++) {
    next[l + 1] = (next[l] + count[l]) << 1;
    if (count[l]) longest = l;
  }
  const table = new Uint16Array(1 << longest);
  lengths.forEach((l, symbol) => {
    if (!l) return;
    let code = next[l]++, low = 0;
    for (let i = 0; i < l; i++, code >>= 1) low = (low << 1) | (code & 1);
    for (; low < table.length; low += 1 << l) table[low] = (symbol << 4) | l;
  });
  return { table, longest };
}

function inflate(input) {
  let out = new Uint8Array(input.length * 12 + 1024), end = 0, at = 0, held = 0, have = 0;
  const bits = (n) => {
    while (have < n) {
      held |= input[at++] << have;
      have += 8;
    }
    const value = held & ((1 << n) - 1);
    held >>>= n;
    have -= n;
    return value;
  };
  const symbol = ({ table, longest }) => {
    while (have < longest) {
      // Beyond the end come zeros, which no code takes in.
      held |= (at < input.length ? input[at] : 0) << have;
      at++;
      have += 8;
    }
    const entry = table[held & ((1 << longest) - 1)], l = entry & 15;
    if (!l) throw new Error("the compressed text is damaged");
    held >>>= l;
    have -= l;
    return entry >> 4;
  };
  const room = (n) => {
    if (end + n <= out.length) return;
    const more = new Uint8Array((end + n) * 2);
    more.set(out);
    out = more;
  };
  const dynamic = () => {
    const literals = bits(5) + 257, distances = bits(5) + 1, given = bits(4) + 4;
    const first = new Array(19).fill(0), all = [];
    for (let i = 0; i < given; i++) first[ORDER[i]] = bits(3);
    const code = codes(first);
    while (all.length < literals + distances) {
      const s = symbol(code);
      if (s < 16) all.push(s);
      else {
        const value = s === 16 ? all[all.length - 1] : 0;
        for (let n = s === 16 ? 3 + bits(2) : s === 17 ? 3 + bits(3) : 11 + bits(7); n > 0; n--) all.push(value);
      }
    }
    return [codes(all.slice(0, literals)), codes(all.slice(literals))];
  };
  const fixed = () => {
    const lengths = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
    return [codes(lengths), codes(new Array(30).fill(5))];
  };
  for (let last = 0; !last; ) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) {
      // Whole bytes that were taken ahead go back.
      at -= have >> 3;
      held = have = 0;
      const n = input[at] | (input[at + 1] << 8);
      room(n);
      out.set(input.subarray(at + 4, at + 4 + n), end);
      at += 4 + n;
      end += n;
      continue;
    }
    const [literal, distance] = kind === 1 ? fixed() : dynamic();
    for (let s = symbol(literal); s !== 256; s = symbol(literal)) {
      room(258);
      if (s < 256) {
        out[end++] = s;
        continue;
      }
      const n = LENGTHS[s - 257] + bits(LENGTH_BITS[s - 257]), d = symbol(distance);
      const from = end - DISTANCES[d] - bits(d < 2 ? 0 : (d >> 1) - 1);
      for (let i = 0; i < n; i++) out[end++] = out[from + i];
    }
  }
  return out.subarray(0, end);
}

// A text that `packed` in Rust has made.
function unpacked(base64) {
  const binary = atob(base64);
  const input = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) input[i] = binary.charCodeAt(i);
  return new TextDecoder().decode(inflate(input));
}
