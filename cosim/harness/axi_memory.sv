// Read-only AXI4 memory (AMBA AXI4, ARM IHI 0022E) with a stated timing, for co-simulation without Python per cycle.
//
// Addresses are taken in every cycle while fewer than BURSTS bursts are inside, but for pauses at random. A burst
// whose address is taken in cycle a offers its first beat in a + LATENCY, or BEAT_INTERVAL cycles after the beat before if that is later; so the
// latencies of queued bursts overlap. Answers come in order. INCR bursts of full words only.
//
// The three timing and error parameters give way to the run-time options +axi_latency=, +axi_beat_interval= and
// +axi_error_address=, so that one compiled simulation serves them all; +axi_pause= is the probability of a pause in
// a cycle, in 65536ths.
module axi_memory #(
    parameter int ADDRESS_BITS = 32,
    parameter int DATA_BITS = 64,
    parameter int WORDS = 1024,               // words of DATA_BITS bits, at least 2
    parameter longint BASE = 0,               // byte address of the first one, a multiple of their size
    parameter FILE = "",                      // their contents, one hexadecimal word per line
    parameter int LATENCY = 1,                // cycles from the address handshake to the first beat, at least 1
    parameter int BEAT_INTERVAL = 1,          // cycles from beat to beat, at least 1
    parameter int BURSTS = 64,                // that can be inside; a power of two
    parameter longint ERROR_ADDRESS = -1      // the word with this byte is answered with SLVERR; -1: none
) (
    input logic clk,
    input logic rst,
    input logic arid,
    input logic [ADDRESS_BITS-1:0] araddr,
    input logic [7:0] arlen,
    input logic [2:0] arsize,
    input logic [1:0] arburst,
    input logic arvalid,
    output logic arready,
    output logic rid,
    output logic [DATA_BITS-1:0] rdata,
    output logic [1:0] rresp,
    output logic rlast,
    output logic rvalid,
    input logic rready
);
  localparam int WORD_BYTES = DATA_BITS / 8;
  localparam int WORD_SHIFT = $clog2(WORD_BYTES);
  localparam int INDEX_BITS = $clog2(BURSTS);
  localparam bit [1:0] OKAY = 0, SLVERR = 2, DECERR = 3;

  logic [DATA_BITS-1:0] words[0:WORDS-1];
  int latency, beat_interval;
  longint error_address;
  int pause_share;
  bit [31:0] random;

  initial begin
    random = 1;
    if (!$value$plusargs("axi_pause=%d", pause_share)) pause_share = 0;
    if (!$value$plusargs("axi_latency=%d", latency)) latency = LATENCY;
    if (!$value$plusargs("axi_beat_interval=%d", beat_interval)) beat_interval = BEAT_INTERVAL;
    if (!$value$plusargs("axi_error_address=%d", error_address)) error_address = ERROR_ADDRESS;
    if (latency < 1 || beat_interval < 1) $fatal(1, "axi_memory: latency and beat interval must be at least 1");
    if (FILE != "") $readmemh(FILE, words);
  end

  // Bursts that are inside, a ring: one bit more than an index tells full from empty.
  logic [ADDRESS_BITS-1:0] addresses[0:BURSTS-1];
  logic [7:0] lengths[0:BURSTS-1];
  logic ids[0:BURSTS-1];
  longint due[0:BURSTS-1];
  logic [INDEX_BITS:0] taken, done;
  wire [INDEX_BITS-1:0] tail = taken[INDEX_BITS-1:0], head = done[INDEX_BITS-1:0];

  longint cycle;
  logic [7:0] beat;  // of the burst at the head
  int pause;         // cycles until the next beat

  // The word at the head, counted from BASE.
  wire signed [63:0] word = (longint'(addresses[head]) >>> WORD_SHIFT) - (BASE >>> WORD_SHIFT) + longint'(beat);
  wire known = word >= 0 && word < longint'(WORDS);
  wire bad = word == (error_address - BASE) >>> WORD_SHIFT;

  assign arready = taken - done != (INDEX_BITS + 1)'(BURSTS) && int'(random[15:0]) >= pause_share;
  assign rvalid = taken != done && cycle >= due[head] && pause == 0;
  assign rdata = known ? words[word[$clog2(WORDS)-1:0]] : '0;
  assign rresp = !known ? DECERR : bad ? SLVERR : OKAY;
  assign rlast = beat == lengths[head];
  assign rid = ids[head];

  function automatic bit [31:0] next_random(bit [31:0] last);
    bit [31:0] x = last;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
  endfunction

  always_ff @(posedge clk) begin
    cycle <= cycle + 1;
    random <= next_random(random);
    if (pause != 0) pause <= pause - 1;
    if (arvalid && arready) begin
      addresses[tail] <= araddr;
      lengths[tail] <= arlen;
      ids[tail] <= arid;
      due[tail] <= cycle + longint'(latency);
      taken <= taken + 1;
      assert (32'(arsize) == WORD_SHIFT && arburst == 2'b01)
      else $fatal(1, "axi_memory: only INCR bursts of whole words are known");
      assert ((32'(araddr[11:0]) >> WORD_SHIFT) + 32'(arlen) < 4096 >> WORD_SHIFT)
      else $fatal(1, "axi_memory: a burst crosses a 4 KB boundary");
    end
    if (rvalid && rready) begin
      pause <= beat_interval - 1;
      beat <= rlast ? 0 : beat + 1;
      if (rlast) done <= done + 1;
    end
    if (rst) begin
      taken <= 0;
      done <= 0;
      beat <= 0;
      pause <= 0;
      cycle <= 0;
    end
  end
endmodule
