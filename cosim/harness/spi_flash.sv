// An SPI flash, mode 0, which sleeps until it is released and a while after: it holds the file flash.bin from OFFSET on.
module spi_flash #(
    parameter int OFFSET = 0,
    parameter int BYTES = 1,
    parameter int RELEASE_CYCLES = 1
) (
    input  logic clk,
    input  logic sck,
    input  logic cs_n,
    input  logic mosi,
    output logic miso
);
  localparam logic [7:0] READ = 8'h03, RELEASE_POWER_DOWN = 8'hAB, ERASED = 8'hFF;

  logic [7:0] contents[BYTES];
  int file, count;
  initial begin
    miso = 1;
    file = $fopen("flash.bin", "rb");
    count = $fread(contents, file);
    $fclose(file);
    if (count != BYTES) $fatal(1, "flash.bin has %0d bytes, not %0d", count, BYTES);
  end

  int now = 0, released_at = -1, bits = 0;
  logic [31:0] command = 0;
  wire awake = released_at >= 0 && now - released_at >= RELEASE_CYCLES;
  always_ff @(posedge clk) now <= now + 1;

  // Commands of another kind, and those that come too early, are ignored.
  always @(posedge sck or posedge cs_n)
    if (cs_n) begin
      if (bits == 8 && command[7:0] == RELEASE_POWER_DOWN) released_at <= now;
      bits <= 0;
    end else begin
      if (bits < 32) command <= {command[30:0], mosi};
      bits <= bits + 1;
    end

  int place;
  logic [7:0] value;
  always_comb begin
    place = int'(command[23:0]) + (bits - 32) / 8 - OFFSET;
    value = place >= 0 && place < BYTES ? contents[place] : ERASED;
  end
  always @(negedge sck)
    miso <= !cs_n && bits >= 32 && command[31:24] == READ && awake ? value[7 - bits % 8] : 1;
endmodule
