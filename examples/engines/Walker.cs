// A character of `mvae-fast export walk --controller stick -o walk.onnx` in Unity 6, with the package
// Inference Engine (com.unity.ai.inference). Not run here: see README.md.
//
// Put the component on the root of a rig whose bones are named as in walk.json, with the axes that
// they have there: a .glb of `mvae-fast generate`, imported by glTFast or UnityGLTF. Give it both
// files, and set `wanted` from the script that reads the input.
using System;
using System.Globalization;
using Unity.InferenceEngine;
using UnityEngine;

public class Walker : MonoBehaviour
{
    public ModelAsset model;
    public TextAsset description;
    public int seed;
    /// The velocity to walk at, metres a second on the ground, in the axes of this object.
    public Vector3 wanted;

    [Serializable] class Skeleton { public string[] names; }
    [Serializable] class Description { public float fps; public Skeleton skeleton; }

    float fps, passed;
    int hips;
    Worker worker;
    Transform[] bones;
    float[] pose, root = new float[3];
    Vector3 hipsBefore, hipsNow;
    Quaternion[] before, now;

    void Start()
    {
        var about = JsonUtility.FromJson<Description>(description.text);
        fps = about.fps;
        // JsonUtility reads neither null nor lists of lists.
        hips = Array.IndexOf(Items(description.text, "\"parents\":[", "]", ","), "null");
        string[] starts = Items(description.text, "\"starts\":[[", "]]", "],[");
        pose = Array.ConvertAll(starts[seed % starts.Length].Split(','), text => float.Parse(text, CultureInfo.InvariantCulture));
        worker = new Worker(ModelLoader.Load(model), BackendType.CPU);
        bones = Array.ConvertAll(about.skeleton.names, name => Find(transform, name));
        before = new Quaternion[bones.Length];
        now = new Quaternion[bones.Length];
        Step();
        Step();
    }

    void Update()
    {
        // The model has its own rate: between two of its frames, the picture is a mixture of both.
        for (passed += Time.deltaTime * fps; passed >= 1; passed -= 1) Step();
        for (int j = 0; j < bones.Length; ++j)
        {
            if (!bones[j]) continue;
            Quaternion turn = Quaternion.Slerp(before[j], now[j], passed);
            if (j == hips) bones[j].SetPositionAndRotation(transform.TransformPoint(Vector3.Lerp(hipsBefore, hipsNow, passed)), transform.rotation * turn);
            else bones[j].localRotation = turn;
        }
    }

    void Step()
    {
        // Unity is left-handed: x changes its sign.
        using var fedPose = new Tensor<float>(new TensorShape(1, pose.Length), pose);
        using var fedRoot = new Tensor<float>(new TensorShape(1, 3), root);
        using var velocity = new Tensor<float>(new TensorShape(1, 2), new[] { -wanted.x, wanted.z });
        worker.SetInput("pose", fedPose);
        worker.SetInput("root", fedRoot);
        worker.SetInput("velocity", velocity);
        worker.Schedule();
        pose = Read("next_pose");
        root = Read("next_root");
        float[] joints = Read("joints"), rotations = Read("rotations");
        (before, now) = (now, before);
        for (int j = 0; j < now.Length; ++j)
            now[j] = new Quaternion(rotations[4 * j], -rotations[4 * j + 1], -rotations[4 * j + 2], rotations[4 * j + 3]);
        hipsBefore = hipsNow;
        hipsNow = new Vector3(-joints[3 * hips], joints[3 * hips + 1], joints[3 * hips + 2]);
    }

    float[] Read(string output)
    {
        using Tensor<float> tensor = (worker.PeekOutput(output) as Tensor<float>).ReadbackAndClone();
        return tensor.DownloadToArray();
    }

    static Transform Find(Transform from, string name)
    {
        if (from.name == name) return from;
        foreach (Transform child in from)
            if (Find(child, name) is Transform found) return found;
        return null;
    }

    // The items between two marks of a text.
    static string[] Items(string json, string from, string to, string between)
    {
        int first = json.IndexOf(from, StringComparison.Ordinal) + from.Length;
        return json.Substring(first, json.IndexOf(to, first, StringComparison.Ordinal) - first).Split(new[] { between }, StringSplitOptions.None);
    }

    void OnDestroy() => worker?.Dispose();
}
