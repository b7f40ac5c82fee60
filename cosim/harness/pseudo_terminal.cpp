// The host's side of a simulated serial line: a pseudo-terminal, whose name is written to the file port.txt.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static int terminal = -1;
static unsigned char bytes[4096];
static ssize_t count = 0, next = 0;
static unsigned idle = 0;

extern "C" int line_open() {
  terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (terminal < 0 || grantpt(terminal) || unlockpt(terminal)) return 0;
  const char *name = ptsname(terminal);
  // It stays open on this side, too: a host may come, go and come again.
  int slave = name ? open(name, O_RDWR | O_NOCTTY) : -1;
  if (slave < 0) return 0;
  struct termios raw;
  if (tcgetattr(slave, &raw)) return 0;
  cfmakeraw(&raw);
  if (tcsetattr(slave, TCSANOW, &raw)) return 0;
  FILE *file = fopen("port.part", "w");
  if (!file) return 0;
  fprintf(file, "%s\n", name);
  return !fclose(file) && !rename("port.part", "port.txt");
}

// The next byte from the host, or -1. It is asked for at every bit time of an idle line, and looks seldom.
extern "C" int line_get() {
  if (next == count) {
    if (idle++ % 16) return -1;
    count = read(terminal, bytes, sizeof bytes);
    next = 0;
    if (count <= 0) return count = 0, -1;
  }
  idle = 0;
  return bytes[next++];
}

extern "C" void line_put(int byte) {
  unsigned char one = byte;
  while (write(terminal, &one, 1) < 0) usleep(1000);  // the host is slow
}
