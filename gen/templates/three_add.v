// A sum and two signed terms, the second of which counts if its mask is set. Where a LUT has six inputs and two outputs,
// all three can be added in one carry chain; here are two.
{ports}  wire [PART-1:0] both;
  {masked_add} #(.WIDTH(PART), .COUNT(1)) first (
    .a(b), .a_mask(1'b1), .b(c), .b_mask(c_mask), .total(both));
  {masked_add} #(.WIDTH(WIDTH), .COUNT(1)) second (
    .a(a), .a_mask(1'b1), .b({{WIDTH-PART+1{both[PART-1]}}, both[PART-2:0]}), .b_mask(1'b1), .total(total));
endmodule
