/* Classifies the samples in ROM, one after the other, and prints the class, the cycles and the scores of each. */
#include <stdint.h>

#include "csr.h"     /* addresses of LiteX's registers */
#include "mem.h"     /* of its regions */
#include "samples.h" /* SAMPLES, BEATS, BEAT_WORDS, samples */
#include "snn_top_axi_registers.h"
#include "tables.h" /* tables: registers, and what is to be in them */

#define CSR(address) (*(volatile uint32_t *)(address))
#define ACCELERATOR ((volatile void *)ACCELERATOR_BASE)

__asm__(".section .start, \"ax\", @progbits\n"
        ".global _start\n"
        "_start:\n"
        "  la sp, stack_top\n"
        "  call main\n"
        "1: j 1b\n"
        ".text\n");

static void put(char c) {
  while (CSR(CSR_UART_TXFULL_ADDR)) {
  }
  CSR(CSR_UART_RXTX_ADDR) = (uint8_t)c;
}

static void put_text(const char *text) {
  while (*text) put(*text++);
}

static void put_number(int32_t value) {
  char digits[10];
  int count = 0;
  uint32_t rest = value < 0 ? -(uint32_t)value : (uint32_t)value;
  if (value < 0) put('-');
  do digits[count++] = (char)('0' + rest % 10u);
  while (rest /= 10u);
  while (count) put(digits[--count]);
}

static void send(const uint32_t *words) {
  for (uint32_t beat = 0; beat < BEATS; beat++) {
    while (!CSR(CSR_ACCELERATOR_PORT_ROOM_ADDR)) {
    }
    for (uint32_t word = 0; word < BEAT_WORDS; word++)
      CSR(beat == BEATS - 1 && word == BEAT_WORDS - 1 ? CSR_ACCELERATOR_PORT_LAST_WORD_ADDR
                                                      : CSR_ACCELERATOR_PORT_WORD_ADDR) = *words++;
  }
}

int main(void) {
  if (!snn_top_axi_is_there(ACCELERATOR)) {
    put_text("not there\n\004");
    return 1;
  }
  for (const uint32_t(*table)[2] = tables; (*table)[1]; table++)
    snn_top_axi_write(ACCELERATOR, (*table)[0], (*table)[1]);
  snn_top_axi_write(ACCELERATOR, SNN_TOP_AXI_INTERRUPT_ENABLE, SNN_TOP_AXI_INTERRUPT_ENABLE_DONE_MASK);
  for (uint32_t sample = 0; sample < SAMPLES; sample++) {
    send(samples[sample]);
    while (!(CSR(CSR_ACCELERATOR_EV_STATUS_ADDR) & 1u)) { /* the interrupt, which may as well reach the CPU */
    }
    snn_top_axi_write(ACCELERATOR, SNN_TOP_AXI_EVENTS, SNN_TOP_AXI_EVENTS_DONE_MASK);
    const uint32_t result = snn_top_axi_read(ACCELERATOR, SNN_TOP_AXI_RESULT);
    put_text("class ");
    put_number((int32_t)(result & SNN_TOP_AXI_RESULT_CLASS_INDEX_MASK));
    put_text(result & SNN_TOP_AXI_RESULT_ERROR_MASK ? " bad" : " good");
    put_text(" cycles ");
    put_number((int32_t)snn_top_axi_read(ACCELERATOR, SNN_TOP_AXI_CYCLES));
    put_text(" scores");
    int32_t scores[SNN_TOP_AXI_CLASSES];
    snn_top_axi_scores(ACCELERATOR, scores);
    for (uint32_t index = 0; index < SNN_TOP_AXI_CLASSES; index++) {
      put(' ');
      put_number(scores[index]);
    }
    put('\n');
  }
  put('\004');
  return 0;
}
