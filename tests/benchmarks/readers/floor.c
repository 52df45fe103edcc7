/* The floor: a client that does nothing but wait (epoll) and read with the kernel's stamp (recvmsg), in C.
 *
 *   floor PORT CONNECTIONS [TOKENS]   asks 127.0.0.1 over and over until SIGTERM, then prints the events that it counted
 *
 * Compiled with -DTLS -lssl -lcrypto, it asks over TLS: it passes what it reads to OpenSSL, and decrypts it at once.
 *
 * No parsing: an event is a blank line, and an answer is over when a read ends with the last chunk of chunked transfer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
#endif

static volatile sig_atomic_t over;
static void on_term(int number) { (void)number; over = 1; }

/* A server that heeds max_tokens gives answers of TOKENS (100) and up to a fifth more or less, so that they do not all end,
 * and begin, at once. */
static int tokens = 100;
static const char REQUEST[] =
    "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 101\r\n\r\n"
    "{\"model\":\"m\",\"max_tokens\":%3d,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"How high is it?\"}]}";

#ifdef TLS
static SSL *sessions[65536]; /* by descriptor */

static void flush_out(int sock) {
    char out[16384];
    int size = BIO_read(SSL_get_wbio(sessions[sock]), out, sizeof out);
    if (size > 0 && send(sock, out, size, MSG_NOSIGNAL) != size) { perror("send"); exit(1); }
}

/* The handshake, on a socket that still blocks. */
static void secure(SSL_CTX *context, int sock) {
    char data[16384];
    SSL *session = sessions[sock] = SSL_new(context);
    SSL_set_bio(session, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    while (SSL_connect(session) != 1) {
        flush_out(sock);
        ssize_t size = recv(sock, data, sizeof data, 0);
        if (size <= 0) { fprintf(stderr, "no handshake\n"); exit(1); }
        BIO_write(SSL_get_rbio(session), data, size);
    }
    flush_out(sock);
}

static ssize_t decrypt(int sock, char *data, ssize_t size, size_t room) {
    ssize_t found = 0;
    int more;
    BIO_write(SSL_get_rbio(sessions[sock]), data, size);
    while ((more = SSL_read(sessions[sock], data + found, room - found)) > 0) found += more;
    return found;
}
#endif

static void ask(int sock) {
    static unsigned asked;
    char request[512];
    int size = snprintf(request, sizeof request, REQUEST, tokens * 4 / 5 + asked++ * 7 % (tokens * 2 / 5 + 1));
#ifdef TLS
    SSL_write(sessions[sock], request, size);
    flush_out(sock);
#else
    if (send(sock, request, size, MSG_NOSIGNAL) != size) { perror("send"); exit(1); }
#endif
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    if (argc > 3) tokens = atoi(argv[3]);
    int connections = atoi(argv[2]), one = 1, poll = epoll_create1(0);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
#ifdef TLS
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
#endif
    int *socks = calloc(connections, sizeof *socks), asking = 0;
    for (int i = 0; i < connections; i++) {
        int sock = socks[i] = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(sock, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        if (connect(sock, (struct sockaddr *)&server, sizeof server)) { perror("connect"); return 1; }
#ifdef TLS
        secure(context, sock);
#endif
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sock};
        epoll_ctl(poll, EPOLL_CTL_ADD, sock, &event);
    }
    static char data[65536];
    long events = 0, stamped = 0;
    /* The first questions are spread over the time of an answer, as those of clients that know nothing of each other: an
     * even step between them could divide the gap between two tokens, and all streams' tokens would be due at a few
     * moments. */
    double step = 0.02 * tokens / connections, next = seconds();
    while (!over) {
        for (; asking < connections && seconds() >= next; next += 2 * step * drand48()) ask(socks[asking++]);
        struct epoll_event ready[256];
        int count = epoll_wait(poll, ready, 256, asking < connections ? 0 : 1000);
        for (int i = 0; i < count; i++) {
            char control[64];
            struct iovec part = {data, sizeof data};
            struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                                     .msg_controllen = sizeof control};
            ssize_t size = recvmsg(ready[i].data.fd, &message, MSG_DONTWAIT);
            if (size <= 0) { fprintf(stderr, "the server hung up\n"); return 1; }
            struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
            stamped += stamp && stamp->cmsg_type == SO_TIMESTAMPNS && ((struct timespec *)CMSG_DATA(stamp))->tv_sec > 0;
#ifdef TLS
            size = decrypt(ready[i].data.fd, data, size, sizeof data);
#endif
            for (char *at = data; (at = memmem(at, data + size - at, "\n\n", 2)); at += 2) events++;
            if (size >= 5 && !memcmp(data + size - 5, "0\r\n\r\n", 5)) ask(ready[i].data.fd);
        }
    }
    printf("%ld events, %ld reads with a stamp\n", events, stamped);
    return 0;
}
