// Injected faults, for tests: KERF_FAULT_NAME=n makes the n-th call fail, n,m the n-th to the m-th. Nothing happens unless
// the variable is set when the process first asks.
#ifndef KERF_BASE_FAULT_H
#define KERF_BASE_FAULT_H

#include <stdint.h>

enum kf_fault {
    KF_FAULT_DB,     // KERF_FAULT_DB: the connection is lost before the n-th query is sent
    KF_FAULT_COMMIT, // KERF_FAULT_COMMIT: the connection is lost after the n-th commit was sent, before its answer
    KF_FAULT_FSYNC,  // KERF_FAULT_FSYNC: the n-th fsync or fdatasync fails with EIO
    KF_FAULTS
};

int kf_fault(enum kf_fault fault); // 1 when this call is to fail

// KERF_FAULT_ENOSPC=bytes: how many of `bytes` may still be written before the disk is full.
int64_t kf_fault_room(int64_t bytes);

void kf_fault_reload(void); // reads the environment again and counts from the start (a test that sets it itself)

#endif
