/* A preload for IKE daemons on a kernel without ESP: their ESP SAs count as installed.
 *
 * XFRM_MSG_NEWSA, UPDSA and DELSA on a NETLINK_XFRM socket are acknowledged without asking the
 * kernel, and GETSA is answered with counters of zero. All else (ALLOCSPI, policies, expiries)
 * goes to the kernel. There is no data path. With $FAKE_XFRM_LOG set, each of those messages is
 * appended there as `type hex`, keys included: cases compare them with ours.
 *
 * Libreswan's pluto writes and then calls recvfrom; strongSwan's charon calls sendto, then select
 * or poll, then recv. One answer may be pending per socket: both wait for it before they go on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 1024
static struct { size_t octets; char data[512]; } pending[SOCKETS];

#define REAL(name) \
	static __typeof__(name) *real; \
	if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int is_xfrm(int fd)
{
	int value = 0;
	socklen_t size = sizeof value;
	if (fd < 0 || fd >= SOCKETS) return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &size) || value != AF_NETLINK) return 0;
	size = sizeof value;
	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &size) && value == NETLINK_XFRM;
}

static void answer(int fd, const struct nlmsghdr *asked, int type, const void *data, size_t octets)
{
	struct nlmsghdr *header = (void *)pending[fd].data;
	memset(header, 0, sizeof *header);
	header->nlmsg_len = NLMSG_LENGTH(octets);
	header->nlmsg_type = type;
	header->nlmsg_seq = asked->nlmsg_seq;
	header->nlmsg_pid = asked->nlmsg_pid;
	memcpy(NLMSG_DATA(header), data, octets);
	pending[fd].octets = header->nlmsg_len;
}

static void keep(const struct nlmsghdr *message)
{
	const char *name = getenv("FAKE_XFRM_LOG");
	FILE *file = name ? fopen(name, "a") : NULL;
	if (!file) return;
	fprintf(file, "%d ", message->nlmsg_type);
	for (unsigned i = 0; i < message->nlmsg_len; i++)
		fprintf(file, "%02x", ((const unsigned char *)message)[i]);
	fprintf(file, "\n");
	fclose(file);
}

/* Is it one of ours to answer? Then the answer is pending. */
static int taken(int fd, const void *data, size_t octets)
{
	const struct nlmsghdr *message = data;
	if (fd <= 2 || octets < sizeof *message || message->nlmsg_len != octets) return 0;
	switch (message->nlmsg_type) {
	case XFRM_MSG_NEWSA:
	case XFRM_MSG_UPDSA:
	case XFRM_MSG_DELSA:
	case XFRM_MSG_GETSA:
		break;
	default:
		return 0;
	}
	if (!is_xfrm(fd)) return 0;
	if (message->nlmsg_type == XFRM_MSG_GETSA) {
		const struct xfrm_usersa_id *id = NLMSG_DATA(message);
		struct xfrm_usersa_info info;
		memset(&info, 0, sizeof info);
		info.id.daddr = id->daddr;
		info.id.spi = id->spi;
		info.id.proto = id->proto;
		info.family = id->family;
		answer(fd, message, XFRM_MSG_NEWSA, &info, sizeof info);
	} else {
		struct nlmsgerr done;
		memset(&done, 0, sizeof done);
		done.msg = *message;
		keep(message);
		answer(fd, message, NLMSG_ERROR, &done, sizeof done);
	}
	return 1;
}

static ssize_t give(int fd, void *data, size_t octets, struct sockaddr *from, socklen_t *size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	size_t given = pending[fd].octets < octets ? pending[fd].octets : octets;
	memcpy(data, pending[fd].data, given);
	pending[fd].octets = 0;
	if (from && size) {
		memcpy(from, &kernel, *size < sizeof kernel ? *size : sizeof kernel);
		*size = sizeof kernel;
	}
	return given;
}

static int waits(int fd)
{
	return fd >= 0 && fd < SOCKETS && pending[fd].octets;
}

ssize_t write(int fd, const void *data, size_t octets)
{
	REAL(write);
	return taken(fd, data, octets) ? (ssize_t)octets : real(fd, data, octets);
}

ssize_t send(int fd, const void *data, size_t octets, int flags)
{
	REAL(send);
	return taken(fd, data, octets) ? (ssize_t)octets : real(fd, data, octets, flags);
}

ssize_t sendto(int fd, const void *data, size_t octets, int flags, const struct sockaddr *to,
	       socklen_t size)
{
	REAL(sendto);
	if (taken(fd, data, octets)) return octets;
	return real(fd, data, octets, flags, to, size);
}

ssize_t recv(int fd, void *data, size_t octets, int flags)
{
	REAL(recv);
	return waits(fd) ? give(fd, data, octets, NULL, NULL) : real(fd, data, octets, flags);
}

ssize_t recvfrom(int fd, void *data, size_t octets, int flags, struct sockaddr *from,
		 socklen_t *size)
{
	REAL(recvfrom);
	if (waits(fd)) return give(fd, data, octets, from, size);
	return real(fd, data, octets, flags, from, size);
}

int select(int count, fd_set *readable, fd_set *writable, fd_set *other, struct timeval *wait)
{
	REAL(select);
	for (int fd = 0; readable && fd < count; fd++) {
		if (!FD_ISSET(fd, readable) || !waits(fd)) continue;
		FD_ZERO(readable);
		FD_SET(fd, readable);
		return 1;
	}
	return real(count, readable, writable, other, wait);
}

int poll(struct pollfd *fds, nfds_t count, int wait_ms)
{
	REAL(poll);
	for (nfds_t i = 0; i < count; i++) {
		if (!(fds[i].events & POLLIN) || !waits(fds[i].fd)) continue;
		for (nfds_t j = 0; j < count; j++) fds[j].revents = 0;
		fds[i].revents = POLLIN;
		return 1;
	}
	return real(fds, count, wait_ms);
}
