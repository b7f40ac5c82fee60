// {name} on 7 series: the two outputs of a LUT are the sum of three bits and what came from the bits below, and what the
// three give to the bits above; the carry chain adds the two.
{ports}  localparam CELLS = (WIDTH + 3) / 4;
  wire [4*CELLS-1:0] sums;
  wire [4*CELLS-1:0] gives;
  wire [4*CELLS-1:0] bits;
  wire [4*CELLS:0] carry;
  assign carry[0] = 1'b0;
  assign gives[0] = 1'b0;
  assign total = bits[WIDTH-1:0];
  genvar k;
  generate
    for (k = 0; k < 4*CELLS; k = k + 1) begin : place
      wire above;
      if (k + 1 < 4*CELLS) begin : next
        assign gives[k+1] = above;
      end
      if (k < WIDTH) begin : own
        LUT6_2 #(.INIT(64'h6999_9666_E888_E888)) lut (
          .I0(a[k]), .I1(b[k < PART ? k : PART - 1]), .I2(c[k < PART ? k : PART - 1]), .I3(c_mask), .I4(gives[k]),
          .I5(1'b1), .O6(sums[k]), .O5(above));
      end else begin : none
        assign sums[k] = 1'b0;
        assign above = 1'b0;
      end
    end
{carries}  endgenerate
endmodule
