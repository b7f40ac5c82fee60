// snn_masked_add on ECP5: a LUT4 is the sum of two masked bits, its lower half (A and B) the carry that they give.
module snn_masked_add #(
  parameter WIDTH = 1
) (
  input wire [WIDTH-1:0] a,
  input wire a_mask,
  input wire [WIDTH-1:0] b,
  input wire b_mask,
  output wire [WIDTH-1:0] total
);
  localparam PAIRS = (WIDTH + 1) / 2;
  wire [2*PAIRS-1:0] a_bits = a;
  wire [2*PAIRS-1:0] b_bits = b;
  wire [2*PAIRS-1:0] bits;
  wire [PAIRS:0] carry;
  assign carry[0] = 1'b0;
  assign total = bits[WIDTH-1:0];
  genvar k;
  generate
    for (k = 0; k < PAIRS; k = k + 1) begin : pair
      CCU2C #(.INIT0(16'h7888), .INIT1(16'h7888), .INJECT1_0("NO"), .INJECT1_1("NO")) cells (
        .CIN(carry[k]), .COUT(carry[k+1]),
        .A0(a_bits[2*k]), .B0(a_mask), .C0(b_bits[2*k]), .D0(b_mask), .S0(bits[2*k]),
        .A1(a_bits[2*k+1]), .B1(a_mask), .C1(b_bits[2*k+1]), .D1(b_mask), .S1(bits[2*k+1]));
    end
  endgenerate
endmodule
