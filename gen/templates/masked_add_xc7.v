// snn_masked_add on 7 series: the two outputs of a LUT are the sum of two masked bits, and the carry that they give. All
// adders lie in one chain.
{ports}  localparam BITS = COUNT * WIDTH;
  localparam CELLS = (BITS + 3) / 4;
  wire [4*CELLS-1:0] sums;
  wire [4*CELLS-1:0] gives;
  wire [4*CELLS-1:0] bits;
  wire [4*CELLS:0] carry;
  assign carry[0] = 1'b0;
  assign total = bits[BITS-1:0];
  genvar k;
  generate
    for (k = 0; k < 4*CELLS; k = k + 1) begin : place
      if (k < BITS) begin : own
        LUT6_2 #(.INIT(64'h7888_7888_8888_8888)) lut (
          .I0(a[k]), .I1(a_mask[k / WIDTH]), .I2(b[k]), .I3(b_mask[k / WIDTH]), .I4(1'b0), .I5(1'b1),
          .O6(sums[k]), .O5(gives[k]));
      end else begin : none
        assign sums[k] = 1'b0;
        assign gives[k] = 1'b0;
      end
    end
{carries}  endgenerate
endmodule
