// What a page reads again, and when.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../src/api/client';
import { inOrder, Refresher } from '../src/api/refresher';

const away = () => new ApiError(503, 'unavailable', 'Away.', null, []);

describe('reading again', () => {
  beforeEach(() => { vi.useFakeTimers(); });
  afterEach(() => { vi.useRealTimers(); });

  it('is done once for all that asked within a quarter of a second', async () => {
    const read = { jobs: vi.fn(async () => undefined), levels: vi.fn(async () => undefined) };
    const refresher = new Refresher(read, () => undefined);
    refresher.ask('jobs');
    await vi.advanceTimersByTimeAsync(100);
    refresher.ask('jobs');
    refresher.ask('levels');
    expect(read.jobs).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([read.jobs.mock.calls.length, read.levels.mock.calls.length]).toEqual([1, 1]);
  });

  it('is tried again after a failure, alone, which is said once', async () => {
    let left = 3;
    const read = { jobs: vi.fn(async () => undefined), levels: vi.fn(async () => { if (left-- > 0) throw away(); }) };
    const failed = vi.fn();
    const refresher = new Refresher(read, failed);
    refresher.ask('levels');
    refresher.ask('jobs');
    await vi.advanceTimersByTimeAsync(250);
    expect(read.levels).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(read.levels).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(read.levels).toHaveBeenCalledTimes(2); // four seconds this time
    await vi.advanceTimersByTimeAsync(60_000);
    expect([read.levels.mock.calls.length, read.jobs.mock.calls.length, failed.mock.calls.length]).toEqual([4, 1, 1]);
  });

  it('does not wait for a retry when it is asked for in between', async () => {
    const read = { levels: vi.fn(async () => { throw away(); }) };
    const refresher = new Refresher(read, () => undefined);
    refresher.ask('levels');
    await vi.advanceTimersByTimeAsync(300);
    refresher.ask('levels');
    await vi.advanceTimersByTimeAsync(250);
    expect(read.levels).toHaveBeenCalledTimes(2);
  });

  it('ends with a refusal that no repetition changes, and with the page', async () => {
    const read = { jobs: vi.fn(async () => { throw new ApiError(404, 'not_found', 'Gone.', null, []); }), levels: vi.fn(async () => { throw away(); }) };
    const refresher = new Refresher(read, () => undefined);
    refresher.ask('jobs');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(read.jobs).toHaveBeenCalledTimes(1);
    refresher.ask('levels');
    await vi.advanceTimersByTimeAsync(250);
    refresher.close();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(read.levels).toHaveBeenCalledTimes(1);
  });
});

describe('what was asked for several times', () => {
  it('is never taken back by an answer that a later one has overtaken', async () => {
    const answers: ((answer: string) => void)[] = [];
    const taken: string[] = [];
    const read = inOrder(() => new Promise<string>((resolve) => { answers.push(resolve); }), (answer) => { taken.push(answer); });
    const all = [read(), read(), read()];
    answers[1]('second');
    answers[0]('first');
    answers[2]('third');
    await Promise.all(all);
    expect(taken).toEqual(['second', 'third']);
  });

  it('is taken from an earlier answer when the later one fails', async () => {
    const answers: [(answer: string) => void, (cause: Error) => void][] = [];
    const taken: string[] = [];
    const read = inOrder(() => new Promise<string>((resolve, reject) => { answers.push([resolve, reject]); }), (answer) => { taken.push(answer); });
    const all = [read(), read()];
    answers[1][1](new Error('away'));
    answers[0][0]('first');
    expect((await Promise.allSettled(all)).map((end) => end.status)).toEqual(['fulfilled', 'rejected']);
    expect(taken).toEqual(['first']);
  });
});
