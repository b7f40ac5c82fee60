// snn_masked_add on ECP5: a LUT4 is the sum of two masked bits, its lower half (A and B) the carry that they give. All
// adders lie in one chain.
{ports}  localparam BITS = COUNT * WIDTH;
  localparam PAIRS = (BITS + 1) / 2;
  wire [2*PAIRS-1:0] a_masks;
  wire [2*PAIRS-1:0] b_masks;
  wire [2*PAIRS-1:0] a_bits = a;
  wire [2*PAIRS-1:0] b_bits = b;
  wire [2*PAIRS-1:0] bits;
  wire [PAIRS:0] carry;
  assign carry[0] = 1'b0;
  assign total = bits[BITS-1:0];
  genvar k;
  generate
    for (k = 0; k < 2*PAIRS; k = k + 1) begin : mask
      assign a_masks[k] = a_mask[k < BITS ? k / WIDTH : 0];
      assign b_masks[k] = b_mask[k < BITS ? k / WIDTH : 0];
    end
    for (k = 0; k < PAIRS; k = k + 1) begin : pair
      CCU2C #(.INIT0(16'h7888), .INIT1(16'h7888), .INJECT1_0("NO"), .INJECT1_1("NO")) cells (
        .CIN(carry[k]), .COUT(carry[k+1]),
        .A0(a_bits[2*k]), .B0(a_masks[2*k]), .C0(b_bits[2*k]), .D0(b_masks[2*k]), .S0(bits[2*k]),
        .A1(a_bits[2*k+1]), .B1(a_masks[2*k+1]), .C1(b_bits[2*k+1]), .D1(b_masks[2*k+1]), .S1(bits[2*k+1]));
    end
  endgenerate
endmodule
