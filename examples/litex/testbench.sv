// Clock, reset and the other end of the serial port of the SoC: what is sent is written to uart.txt, and ends with EOT.
module testbench (
    input clk /* verilator public_flat_rw */,
    output bit done /* verilator public_flat_rw */
);
  localparam LIMIT_CYCLES = 200_000_000;

  logic valid;
  logic [7:0] data;
  logic unused_sink_ready;
  int cycle, file;
  soc dut (
      .sys_clk(clk), .sys_rst(cycle < 20), .serial_source_valid(valid), .serial_source_ready(1'b1),
      .serial_source_data(data), .serial_sink_valid(1'b0), .serial_sink_ready(unused_sink_ready),
      .serial_sink_data(8'd0)
  );

  initial file = $fopen("uart.txt", "w");

  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (valid && data != 8'd4) $fwrite(file, "%c", data);
    if ((valid && data == 8'd4) || cycle == LIMIT_CYCLES) begin
      $fclose(file);
      done <= 1;
    end
  end
endmodule
