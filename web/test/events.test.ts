// When a page that hears live events is told to read again.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { onEvent, startEvents, stopEvents, type Heard } from '../src/api/events';

let source: { onopen: () => void; onerror: () => void } | null = null;

describe('a stream that opens', () => {
  beforeEach(() => {
    vi.stubGlobal('navigator', {}); // no locks: a stream of its own
    vi.stubGlobal('EventSource', class {
      onopen = (): void => undefined;
      onerror = (): void => undefined;
      constructor() { source = this; }
      addEventListener(): void { /* nothing comes */ }
      close(): void { /* nothing is open */ }
    });
  });
  afterEach(() => {
    stopEvents();
    vi.unstubAllGlobals();
  });

  const listen = (): [Heard[], () => void] => {
    const heard: Heard[] = [];
    return [heard, onEvent((event) => heard.push(event))];
  };

  it('makes those read again who may have read before it, since nobody has heard what happened in between', () => {
    startEvents();
    const [heard, off] = listen();
    source?.onopen();
    expect(heard).toEqual([{ kind: 'resync' }]);
    off();
  });

  it('asks nothing of a page that comes later, until the stream breaks and opens again', () => {
    startEvents();
    source?.onopen();
    const [heard, off] = listen();
    expect(heard).toEqual([]);
    source?.onerror();
    expect(heard).toEqual([]);
    source?.onopen();
    expect(heard).toEqual([{ kind: 'resync' }]);
    off();
  });
});
