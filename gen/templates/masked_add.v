// Adders side by side. A term counts if its mask is set. A LUT of four inputs holds a bit of both terms with their
// masks, in front of the carry: where synthesis does not find that by itself, the module can be replaced by one of the
// device's own cells. Of several adders none has a carry at its end, so that they may lie in one carry chain.
{ports}  genvar k;
  generate
    for (k = 0; k < COUNT; k = k + 1) begin : adder
      assign total[k*WIDTH +: WIDTH] = (a[k*WIDTH +: WIDTH] & {WIDTH{a_mask[k]}})
                                     + (b[k*WIDTH +: WIDTH] & {WIDTH{b_mask[k]}});
    end
  endgenerate
endmodule
