/* A program that is ready at once and says so in the words of sd_notify, then waits to be ended. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int speaker = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!path || strlen(path) >= sizeof address.sun_path || speaker < 0)
        return 2;
    strcpy(address.sun_path, path);
    if (sendto(speaker, "READY=1", 7, 0, (struct sockaddr *)&address, sizeof address) < 0)
        return 3;
    for (;;)
        pause();
}
