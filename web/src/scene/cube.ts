// The orientation cube in the corner: letters of the patient's directions on its faces; a click looks from that side.
import * as THREE from 'three';

interface Face {
  letter: string;
  direction: [number, number, number];
}

// Box faces in three.js order: +x, −x, +y, −y, +z, −z; the scene is in LPS.
const faces: Face[] = [
  { letter: 'L', direction: [1, 0, 0] },
  { letter: 'R', direction: [-1, 0, 0] },
  { letter: 'P', direction: [0, 1, 0] },
  { letter: 'A', direction: [0, -1, 0] },
  { letter: 'S', direction: [0, 0, 1] },
  { letter: 'I', direction: [0, 0, -1] },
];

// Quarter turns that set each letter upright when its face is looked at with S up (for S and I: A up).
const turns = [3, 1, 2, 0, 2, 2];

function letterTexture(letter: string, quarter: number): THREE.CanvasTexture {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 128;
  const context = canvas.getContext('2d');
  if (context) {
    context.fillStyle = '#1d252d';
    context.fillRect(0, 0, 128, 128);
    context.strokeStyle = '#5d6b78';
    context.lineWidth = 6;
    context.strokeRect(3, 3, 122, 122);
    context.translate(64, 64);
    context.rotate((quarter * Math.PI) / 2);
    context.fillStyle = '#eef3f7';
    context.font = '600 78px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(letter, 0, 6);
  }
  const texture = new THREE.CanvasTexture(canvas);
  texture.colorSpace = THREE.SRGBColorSpace;
  texture.anisotropy = 4;
  return texture;
}

const sidePx = 84;
const marginPx = 6;

export class OrientationCube {
  private readonly scene = new THREE.Scene();
  private readonly camera = new THREE.OrthographicCamera(-1, 1, 1, -1, 0.1, 10);
  private readonly box: THREE.Mesh;
  private readonly materials: THREE.MeshBasicMaterial[];

  constructor() {
    this.materials = faces.map((face, i) => new THREE.MeshBasicMaterial({ map: letterTexture(face.letter, turns[i]) }));
    this.box = new THREE.Mesh(new THREE.BoxGeometry(1, 1, 1), this.materials);
    this.scene.add(this.box);
    this.camera.up.set(0, 0, 1);
  }

  private aim(main: THREE.Camera): void {
    this.camera.quaternion.copy(main.quaternion);
    this.camera.position.set(0, 0, 4).applyQuaternion(main.quaternion);
    this.camera.updateMatrixWorld();
  }

  draw(renderer: THREE.WebGLRenderer, main: THREE.Camera, width: number, height: number): void {
    this.aim(main);
    renderer.clearDepth();
    renderer.setViewport(width - sidePx - marginPx, marginPx, sidePx, sidePx);
    renderer.render(this.scene, this.camera);
    renderer.setViewport(0, 0, width, height);
  }

  /** The direction of the face under a point of the pane (pixels from its top left), or null. */
  hit(x: number, y: number, width: number, height: number, main: THREE.Camera): THREE.Vector3 | null {
    const left = width - sidePx - marginPx;
    const top = height - sidePx - marginPx;
    if (x < left || x > left + sidePx || y < top || y > top + sidePx) return null;
    this.aim(main);
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2(((x - left) / sidePx) * 2 - 1, 1 - ((y - top) / sidePx) * 2), this.camera);
    const found = ray.intersectObject(this.box)[0];
    return found?.face ? found.face.normal.clone() : null;
  }

  close(): void {
    for (const material of this.materials) {
      material.map?.dispose();
      material.dispose();
    }
    this.box.geometry.dispose();
  }
}
